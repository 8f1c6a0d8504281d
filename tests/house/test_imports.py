"""What import-linter cannot say; its own contracts are in pyproject.toml."""

import grimp
import pytest

from tests.house import floors

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
    return grimp.build_graph(*floors.HOUSE, cache_dir=None)


@pytest.fixture(scope="module")
def arrows(graph):
    """Which file of ours imports which."""
    return floors.files(graph)


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


class TestTheHouse:
    def test_has_no_ring_of_files(self, arrows):
        assert len(arrows) > 400
        assert floors.circles(arrows) == []

    @pytest.mark.parametrize("root", floors.HOUSE)
    def test_has_no_arrow_back_between_rooms(self, arrows, root):
        drawn = floors.plan(floors.rooms(arrows, root=root))
        assert drawn.back_arrows == []
        assert sum(len(floor) for floor in drawn.floors) == len(drawn.arrows) > 10


class TestFloors:
    """How they are counted, on a house of four rooms."""

    RING = {"h": set(), "h.a": {"h.b.x"}, "h.b.x": {"h.c"}, "h.c": {"h.b.y", "h.d"}, "h.b.y": set()}

    @pytest.fixture
    def drawn(self):
        return floors.plan(floors.rooms({**self.RING, "h.d": set()}, root="h"))

    def test_are_counted_from_what_imports_nothing(self, drawn):
        assert drawn.floors == [["d"], ["b", "c"], ["a"]]

    def test_have_a_ring_of_rooms_where_no_file_is_in_one(self, drawn):
        assert floors.circles({**self.RING, "h.d": set()}) == []
        assert drawn.circles == [["b", "c"]]
        assert drawn.back_arrows == [("b", "c"), ("c", "b")]
        assert drawn.arrow_count == 4

    def test_are_told_in_words(self, drawn):
        said = floors.show("h", drawn).splitlines()
        assert said[0] == "h: 4 rooms on 3 floors, 4 arrows, 2 of them back, 1 circles"
        assert said[1:] == ["   2  a", "   1  b c", "   0  d", "  circle: b c"]
