"""A million rows in one partition go through in bounded memory."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from deltalake import DeltaTable
from tests.integration.programs.large_batch_program import ROWS
from tests.integration.servers.postgres import postgres_server

pytestmark = pytest.mark.slow

_PROGRAM = Path(__file__).parent / "programs" / "large_batch_program.py"
_GROWTH_MIB = 260


def _growth_mib(kind: str, target: str) -> int:
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), kind, target],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    growth, size = map(int, done.stdout.split())
    assert size > _GROWTH_MIB, "all of it in memory would be more than what is allowed"
    return growth


@pytest.mark.timeout(120)
def test_a_million_rows_go_to_postgres() -> None:
    """They wait on disk, not in memory."""
    with postgres_server() as server:
        growth_mib = _growth_mib("postgres", server.dsn)
        with psycopg.connect(server.dsn) as connection:
            query = "SELECT count(*), count(DISTINCT number) FROM large"
            found = connection.execute(query).fetchone()

    assert found == (ROWS + 100_000, ROWS)
    assert growth_mib < _GROWTH_MIB


@pytest.mark.timeout(120)
def test_a_million_rows_go_to_a_delta_table(tmp_path: Path) -> None:
    """They are handed over in a file, and read as they are written."""
    uri = str(tmp_path / "large")
    growth_mib = _growth_mib("delta", uri)

    assert DeltaTable(uri).count() == ROWS + 100_000
    assert growth_mib < _GROWTH_MIB
