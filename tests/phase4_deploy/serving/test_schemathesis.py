"""The API against its own document: Schemathesis makes requests of it, good ones and bad ones.

No 5xx, no undocumented status or media type, every answer as its schema says, what the schema rules
out refused, and nothing let in without a key: 2,100 requests here, 8,800 by `make test-full`.
"""

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

from phase4_deploy.serving.api import create_app
from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.serving.service import Service

schema = schemathesis.openapi.from_dict(create_app(Service(Engine([]))).openapi())
FEW = hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
MANY = hypothesis.settings(max_examples=600, deadline=None, derandomize=True)


@pytest.fixture(scope="session")
def guarded(serve, tmp_path_factory):
    """A server with a key that may do everything; small answers, so that many can be asked for."""
    url = f"sqlite:///{tmp_path_factory.mktemp('keys') / 'keys.sqlite'}"
    store = KeyStore(url)
    key = store.add("everything", rate=10**6, concurrency=1000)
    store.close()
    server = serve("--tokens", "3", "--keys", url, "--log", "false").started()
    return server, {"Authorization": f"Bearer {key}"}


def conforms(case, guarded) -> None:
    server, headers = guarded
    # No schema says that a text is a picture, or longer than a context: what fits may be refused.
    excluded = [positive_data_acceptance]
    case.call_and_validate(base_url=server.url, headers=headers, excluded_checks=excluded)


@schema.parametrize()
@FEW
def test_the_api_is_what_its_document_says(case, guarded):
    conforms(case, guarded)


@pytest.mark.full
@schema.parametrize()
@MANY
def test_the_api_is_what_its_document_says_in_thousands_of_cases(case, guarded):
    conforms(case, guarded)
