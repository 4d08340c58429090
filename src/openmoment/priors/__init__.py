"""Generative priors: sentences and pictures of a label, as files that people read and correct.

`make.make_priors` writes them with a provider of texts and one of images; `files.read_priors`
reads them, whoever wrote them; `examples` puts them into a question. Nothing here is called by
training or by `find` unless a folder is given.
"""

from openmoment.priors.examples import Example, examples_of
from openmoment.priors.files import Prior, Priors, Provenance, read_priors

__all__ = ["Example", "Prior", "Priors", "Provenance", "examples_of", "read_priors"]
