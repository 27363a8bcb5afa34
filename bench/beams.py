"""What the beam and the length penalty do to a trained model's translations: scores of one text for each pair of both, the best on the validation set then on others.

    python bench/beams.py runs/hour/best_model.pt data/open/validation --score test=data/open/test --json results/beams.json

PATH.ko is translated, and what comes out is compared with PATH.en. A beam of 1 is greedy search, which has no use for a penalty. All are compared with --beam and --length-penalty,
the translator's own, by approximate randomisation. What has most BLEU there (chrF alone rewards length) then translates the texts of --score, beside those two and greedy search. `length` is the number of words of the
translations divided by that of the references, `fewer` what part of the translations has at most half the words of its reference.
"""
import argparse,platform
from copy import copy
from dataclasses import replace
from scores import read_texts,shape_of

def measured(translator, pairs, ways, first):
    "Rows of one text: what each way to search makes of it"
    from kotrans.evaluation import compare_systems
    ko,en = pairs
    found = {}
    for way in dict.fromkeys([first, *ways]):
        t,(beam,alpha) = copy(translator),way
        t.options = replace(t.options, method='beam' if beam>1 else 'greedy', beam_size=beam, length_penalty=alpha)
        found[way] = t.translate(ko)
    scores = compare_systems({f'beam {b}, α {a}': x for (b,a),x in found.items()}, en, 'bleu,chrf')
    words = [len(l.split()) for l in en]
    rows = []
    for ((beam,alpha),x),s in zip(found.items(), scores.values()):
        ours = [len(l.split()) for l in x]
        rows.append(dict(beam=beam, alpha=alpha, scores=s, length=sum(ours)/sum(words), fewer=sum(2*a<=b for a,b in zip(ours, words))/len(words)))
        print(f"beam {beam:2} α {alpha:3g} {s['BLEU']['score']:5.2f} BLEU {s['chrF2']['score']:5.2f} chrF, length {rows[-1]['length']:.3f}, {rows[-1]['fewer']:.1%} half as long or less", flush=True)
    return rows

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('checkpoint'); p.add_argument('validation', metavar='PATH')
    p.add_argument('--score', action='append', default=[], metavar='NAME=PATH', help='another text; may be given again')
    p.add_argument('--beams', type=int, nargs='+', default=[1, 2, 4, 8]); p.add_argument('--penalties', type=float, nargs='+', default=[0., .6, 1., 1.2, 1.4])
    p.add_argument('--beam', type=int, default=4); p.add_argument('--length-penalty', type=float, default=1.); p.add_argument('--json')
    a = p.parse_args()
    import kotrans,torch
    from kotrans.files import write_json
    from kotrans.pipeline import machine_info
    from kotrans.translator import Translator
    texts = dict(validation=a.validation) | dict(t.partition('=')[::2] for t in a.score)
    if len(texts)<1+len(a.score) or '' in texts.values(): p.error('--score NAME=PATH, each name once')
    if min([a.beam, *a.beams])<1 or min([a.length_penalty, *a.penalties])<0: p.error('beams from 1, penalties from 0')
    pairs = read_texts(p, texts, a.checkpoint)
    translator = Translator.from_checkpoint(a.checkpoint, 'cpu')
    first,greedy = (a.beam, a.length_penalty),(1, 0.)
    ways = [w for b in a.beams for w in ([greedy] if b==1 else [(b, alpha) for alpha in a.penalties])]
    rows = dict(validation=measured(translator, pairs['validation'], ways, first))
    best = max(rows['validation'], key=lambda r: r['scores']['BLEU']['score'])
    for name in [*texts][1:]:
        print(name)
        rows[name] = measured(translator, pairs[name], [greedy, (best['beam'], best['alpha'])], first)
    record = dict(**machine_info(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), first=first, best=(best['beam'], best['alpha']), model=shape_of(a.checkpoint),
                  sentences={n: len(ko) for n,(ko,_) in pairs.items()}, texts=rows)
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
