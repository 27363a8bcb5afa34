"""Packaging for kotrans. All metadata lives in `settings.ini`; edit there, not here."""
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

root = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

lib, lib_path, git_url, branch = cfg['lib_name'], cfg['lib_path'], cfg['git_url'], cfg['branch']
licenses = dict(apache2='Apache-2.0', mit='MIT', bsd3='BSD-3-Clause')
statuses = dict(enumerate('Planning,Pre-Alpha,Alpha,Beta,Production/Stable,Mature,Inactive'.split(','), 1))
status = int(cfg['status'])


def absolute_links(text):
    "README with links that work on another site too: files go to the repository, pictures to their raw bytes"
    raw = git_url.replace('github.com', 'raw.githubusercontent.com')
    here = r'(?![a-z]+:|//|/|#)'                        # not a full address, and not an anchor of this page
    text = re.sub(rf'(!\[[^\]]*\]\(){here}', rf'\1{raw}/{branch}/', text)
    text = re.sub(rf'(<img\b[^>]*\bsrc="){here}', rf'\1{raw}/{branch}/', text)
    return re.sub(rf'(?<=\]\(){here}', f'{git_url}/blob/{branch}/', text)


setup(
    name=lib, version=cfg['version'], description=cfg['description'],
    author=cfg['author'], author_email=cfg['author_email'],
    url=cfg['git_url'], keywords=cfg['keywords'].split(),
    license=licenses[cfg['license']],
    project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl'],
                  'Source': git_url,
                  'Issues': f'{git_url}/issues',
                  'Changelog': f'{git_url}/blob/{branch}/CHANGELOG.md'},
    long_description=absolute_links((root/'README.md').read_text(encoding='utf-8')),
    long_description_content_type='text/markdown',
    classifiers=[f'Development Status :: {status} - {statuses[status]}',
                 f"Intended Audience :: {cfg['audience']}",
                 'Intended Audience :: Education',
                 f"Natural Language :: {cfg['language']}",
                 'Natural Language :: Korean',
                 'Programming Language :: Python :: 3',
                 *(f'Programming Language :: Python :: {v}' for v in cfg['python_versions'].split()),
                 'Topic :: Scientific/Engineering :: Artificial Intelligence',
                 'Topic :: Text Processing :: Linguistic',
                 'Typing :: Typed'],
    python_requires='>=' + cfg['min_python'],
    packages=find_packages(include=[lib_path, lib_path + '.*']),
    package_dir={'': '.'},   # so that an editable install puts this folder on the path, and nbdev finds tools/pages.py
    package_data={lib: ['data/*', 'data/*/*', 'py.typed', '*.pyi']},
    install_requires=cfg['requirements'].split(),
    extras_require={k.removesuffix('_requirements'): v.split() for k, v in cfg.items() if k.endswith('_requirements')},
    entry_points={'console_scripts': cfg.get('console_scripts', '').split(),
                  'nbdev': [f'{lib_path}={lib_path}._modidx:d']},
)
