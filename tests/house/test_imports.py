"""What import-linter cannot say; its own contracts are in pyproject.toml."""

import grimp
import pytest

OURS = ("portal", "billing", "lines")
SIMULATORS = (
    "billing.gateways.alipay.simulator",
    "billing.gateways.stripe.simulator",
    "billing.gateways.wechat.simulator",
    "lines.carriers.tmf654.simulator",
)
# What the rails' simulators share among themselves: no rail's protocol, and nothing of ours.
MACHINERY = "billing.gateways.simulation"


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*OURS, cache_dir=None)


@pytest.mark.parametrize("simulator", [*SIMULATORS, MACHINERY])
class TestASimulator:
    def test_shares_no_code_with_its_adapter_or_anything_else_of_ours(self, graph, simulator):
        modules = {simulator, *graph.find_descendants(simulator)}
        imported = {
            target
            for module in modules
            for target in graph.find_modules_directly_imported_by(module)
        }
        shared = {MACHINERY, *graph.find_descendants(MACHINERY)}
        assert imported - modules - shared == set()


class TestEverySimulator:
    def test_is_in_the_list_above(self, graph):
        found = {module for module in graph.modules if module.endswith(".simulator")}
        assert found == set(SIMULATORS)
