"""Local ledgers: opened for a transaction, closed when it is final, anchored in their parent."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import (
    ClosedError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
    ProofError,
    RefusedError,
    StorageError,
)
from ledger_core.formats.checkpoint import Checkpoint, verify_checkpoint
from ledger_core.formats.receipt import parse_receipt
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.policy.anchoring import (
    AnchoredReceipt,
    check_anchored,
    format_anchored,
    parent_checkpoint_of,
    parse_anchored,
)
from ledger_core.records.types.anchor import Anchor
from ledger_core.records.types.charter import Founding, FoundingKey, Parent
from ledger_core.records.types.closing import Closing
from tests.support.assemblies import make_policy, two_of_three
from tests.support.consortium import Consortium, endorse
from tests.support.ledgers import Author, Replica, Service, append_notes, appended, refused


class Deal:
    """A ledger ``main`` and a local ledger of two agents in it."""

    def __init__(self, replica: Replica, name: str = "deal", parent: Parent | None = None) -> None:
        self.ledgers: Ledgers = replica.ledgers
        origin = f"ledgergrid.example/{name}"
        self.buyer, self.seller = Author(origin), Author(origin)
        self.parent = make_parent(replica)
        keys = tuple(FoundingKey(each.name, ("agent",)) for each in (self.buyer, self.seller))
        named = parent or Parent(self.parent.origin, ids.format_digest(self.parent.charter))
        parties = tuple(sorted((self.buyer.name, self.seller.name)))
        founding = Founding(keys=keys, parties=parties, parent=named)
        self.local: Ledger = replica.ledgers.create(
            name, kind="local", origin=origin, founding=founding
        )

    def close(self, author: Author | None = None) -> int:
        sealed = (author or self.buyer).seal("closing/1", {"body": b"{}"})
        return appended(self.local.append([sealed])[0]).index

    def anchors(self) -> list[int]:
        entries = self.parent.entries(range(self.parent.size()), with_payload=False)
        return [each.index for each in entries if b'"type":"anchor/1"' in each.leaf]

    def check(self, index: int) -> Anchor:
        """Check an entry's anchored receipt as whoever trusts the parent's key does."""
        receipt = parse_anchored(self.ledgers.anchorer.prove(self.local, index))
        checkpoint = verify_checkpoint(parent_checkpoint_of(receipt), self.parent.log_key)
        return check_anchored(receipt, self.local.entry(index).leaf, checkpoint)


def make_parent(replica: Replica) -> Ledger:
    if "main" in replica.ledgers.names():
        return replica.ledgers.get("main")
    return replica.ledgers.create("main")


def test_a_closed_ledger_takes_no_appends_and_says_so(service: Service) -> None:
    deal = Deal(service.open())
    append_notes(deal.local, deal.buyer, 3)
    assert deal.close(deal.seller) == 4
    for sealed in (deal.buyer.note("late"), deal.buyer.seal("closing/1", {"body": b"{}"})):
        error = refused(deal.local.append([sealed])[0])
        assert isinstance(error, ClosedError)
        assert "closed by entry 4" in str(error)
    assert deal.local.size() == 5


def test_what_comes_behind_the_closing_in_one_batch_is_refused(service: Service) -> None:
    deal = Deal(service.open())
    closing = deal.seller.seal("closing/1", {"body": b"{}"})
    outcomes = deal.local.append([deal.buyer.note("in"), closing, deal.buyer.note("out")])
    assert [isinstance(each, LedgerGridError) for each in outcomes] == [False, False, True]
    assert deal.local.size() == 3


def test_only_a_local_ledger_closes_and_only_a_party_or_the_operator_closes_it(
    service: Service,
) -> None:
    deal = Deal(service.open())
    stranger = Author(deal.local.origin)
    deal.local.append_as_operator("key/1", stranger.registration())
    error = refused(deal.local.append([stranger.seal("closing/1", {"body": b"{}"})])[0])
    assert "closed by one of its parties" in str(error)
    with pytest.raises(RefusedError, match="only a local ledger closes"):
        deal.parent.append_as_operator("closing/1", b"{}")


def test_a_closed_ledger_is_anchored_once_and_every_entry_leads_to_the_parent(
    service: Service,
) -> None:
    replica = service.open()
    deal = Deal(replica)
    append_notes(deal.local, deal.buyer, 5)
    assert deal.close() == 6
    for _ in range(3):
        assert replica.ledgers.clerk.tidy() is None
    assert deal.anchors() == [1]
    for index in range(7):
        anchor = deal.check(index)
        assert (anchor.origin, anchor.size) == (deal.local.origin, 7)
        assert anchor.charter == ids.format_digest(deal.local.charter)
    closing = deal.local.closing()
    assert closing is not None
    assert (closing.size, closing.anchor, closing.try_at, closing.error) == (7, 1, None, None)
    assert replica.ledgers.anchorer.find_parent(closing) == "main"


def test_two_replicas_anchor_a_ledger_once(service: Service) -> None:
    one, two = service.open(), service.open()
    deals = [Deal(one, f"deal-{n}") for n in range(5)]
    for deal in deals:
        deal.close()
    assert one.ledgers.anchorer.anchor_due() is None
    assert two.ledgers.anchorer.anchor_due() is None
    assert len(deals[0].anchors()) == 5
    for deal in deals:
        deal.check(0)


def test_an_anchor_appended_again_has_the_place_of_the_first(service: Service) -> None:
    deal = Deal(service.open())
    charter = ids.format_digest(deal.local.charter)
    anchor = Anchor(deal.local.origin, charter, 1, charter)
    first = appended(deal.parent.append_anchors([(anchor, 1_000)])[0])
    again = appended(service.open().ledgers.get("main").append_anchors([(anchor, 1_000)])[0])
    assert (again.index, again.is_new) == (first.index, False)


def test_a_ledger_closes_when_its_parties_agree_where_a_policy_says_so(service: Service) -> None:
    replica = service.open()
    parent = make_parent(replica)
    parties = ("acme", "birch", "cobalt")
    group = Consortium(
        replica.ledgers,
        make_policy("closing/1", rule=two_of_three()),
        kind="local",
        parties=parties,
        parent=Parent(parent.origin, ids.format_digest(parent.charter)),
    )
    closing = group.append(group.agents["acme"], "closing/1", Closing("delivered"))
    group.decide("birch")
    assert group.ledger.closing() is None
    group.endorse(closing.leaf_hash, "birch")
    assert group.verdict(closing.leaf_hash) == "confirmed"
    size = group.ledger.size()
    late = endorse(group.ledger.proposal(closing.leaf_hash), group.agents["cobalt"])
    assert isinstance(refused(group.ledger.append([late])[0]), ClosedError)
    assert replica.ledgers.clerk.tidy() is None
    found = group.ledger.closing()
    assert found is not None
    assert (found.size, found.anchor) == (size, 1)


def test_what_a_closed_ledger_left_open_keeps_the_clerk_from_nothing(service: Service) -> None:
    replica = service.open()
    parent = make_parent(replica)
    group = Consortium(
        replica.ledgers,
        make_policy("agent.decision/1"),
        kind="local",
        parties=("acme",),
        parent=Parent(parent.origin, ids.format_digest(parent.charter)),
    )
    open_one = group.decide()
    group.append(group.agents["acme"], "closing/1", Closing())
    service.clock.now_ms += 10_000_000
    size = group.ledger.size()
    assert replica.ledgers.clerk.tidy() is None
    assert group.ledger.size() == size
    assert group.verdict(open_one.leaf_hash) is None


def test_a_ledger_whose_parent_is_elsewhere_stays_unanchored_and_says_why(
    service: Service,
) -> None:
    replica = service.open()
    elsewhere = Parent("ledgergrid.example/elsewhere", ids.format_digest(bytes(32)))
    deal = Deal(replica, parent=elsewhere)
    deal.close()
    assert replica.ledgers.clerk.tidy() is None
    found = deal.local.closing()
    assert found is not None
    assert (found.anchor, found.try_at) == (None, None)
    assert "not a ledger of this service" in str(found.error)
    with pytest.raises(NotFoundError):
        replica.ledgers.anchorer.prove(deal.local, 0)


def test_an_anchored_receipt_has_one_spelling(service: Service) -> None:
    replica = service.open()
    deal = Deal(replica)
    deal.close()
    replica.ledgers.clerk.tidy()
    raw = replica.ledgers.anchorer.prove(deal.local, 1)
    assert format_anchored(parse_anchored(raw)) == raw
    for other in (raw + b"\n", raw.rstrip(b"\n"), b" " + raw, raw.replace(b":{", b": {", 1), b""):
        with pytest.raises(MalformedError):
            parse_anchored(other)


def test_a_forged_anchored_receipt_is_refused(service: Service) -> None:
    replica = service.open()
    deal, other = Deal(replica), Deal(replica, "other")
    append_notes(deal.local, deal.buyer, 2)
    deal.close()
    other.close()
    replica.ledgers.clerk.tidy()
    prove = replica.ledgers.anchorer.prove
    good, foreign = (parse_anchored(prove(each, 1)) for each in (deal.local, other.local))
    leaf = deal.local.entry(1).leaf
    checkpoint = verify_checkpoint(parent_checkpoint_of(good), deal.parent.log_key)
    replace = msgspec.structs.replace
    another = parse_receipt(deal.parent.receipt(0, checkpoint.size))
    forgeries: dict[str, AnchoredReceipt] = {
        "another's anchor": replace(foreign, local=good.local),
        "another's entry": replace(good, local=foreign.local),
        "no path to the charter": replace(good, charter=()),
        "another charter": replace(good, charter=foreign.charter),
        "another record": replace(good, record=foreign.record),
        "another body": replace(good, body=foreign.body),
        "a record that is no anchor": replace(
            good, parent=deal.parent.receipt(0, checkpoint.size), record=b"{}"
        ),
    }
    assert another.index == 0
    for name, forged in forgeries.items():
        theirs = verify_checkpoint(parent_checkpoint_of(forged), deal.parent.log_key)
        with pytest.raises(LedgerGridError):
            check_anchored(forged, leaf, theirs)
            raise AssertionError(name)
    with pytest.raises(ProofError):
        check_anchored(good, deal.local.entry(2).leaf, checkpoint)
    with pytest.raises(ProofError):
        check_anchored(good, leaf, Checkpoint(checkpoint.origin, checkpoint.size, bytes(32)))


def test_the_database_keeps_where_a_ledger_ended_and_is_anchored(service: Service) -> None:
    replica = service.open()
    deal = Deal(replica)
    deal.close()
    replica.ledgers.clerk.tidy()
    for change in (
        "UPDATE closings SET anchor = 0",
        "UPDATE closings SET size = 1",
        "UPDATE closings SET try_at = 0",
        "DELETE FROM closings",
    ):
        with pytest.raises(StorageError), replica.database.write() as tx:
            tx.execute(text(change))


def test_an_archive_of_a_closed_ledger_adds_nothing_to_it(service: Service) -> None:
    deal = Deal(service.open())
    append_notes(deal.local, deal.buyer, 2)
    deal.close()
    size = deal.local.size()
    assert b"".join(deal.local.export(0, None, "auditor"))
    assert deal.local.size() == size
