"""Vectors of the trust policy (docs/spec/trust-policy.md)."""

from __future__ import annotations

from ledger_core import limits
from ledger_core.formats.vkey import WitnessKey, format_vkey
from tests.vectors.build import LOG, WITNESS, WITNESS_2, WITNESS_3, Case, accept, refuse, show
from tests.vectors.notes import (
    C2SP_EXAMPLE,
    ENOCH,
    LOG_VKEY,
    PETER,
    PQ_LINE,
    PQ_VKEY,
    TALL_NOTE,
    WITNESS_VKEY,
    cosign,
)

ABOUT = "Trust policies: C2SP tlog-policy, and whether a checkpoint meets one"
PAGE = "trust-policy.md"

W1, W2, W3 = WITNESS_VKEY, format_vkey(WITNESS_2.public), format_vkey(WITNESS_3.public)
HEAD = f"log {LOG_VKEY}\nwitness w1 {W1}\nwitness w2 {W2}\nwitness w3 {W3}\n"
PQ_HEAD = f"log {LOG_VKEY}\nwitness w1 {W1}\nwitness pq {PQ_VKEY}\n"
BOTH = PQ_HEAD + "group g all w1 pq\nquorum g\n"
TWO_OF_THREE = HEAD + "group g 2 w1 w2 w3\nquorum g\n"


def _parsed() -> list[Case]:
    good = {
        "one log and no witness": f"log {LOG_VKEY}\nquorum none\n",
        "two of three": TWO_OF_THREE,
        "one witness by name": HEAD + "quorum w2\n",
        "an ML-DSA-44 witness": BOTH,
        "groups in groups": HEAD + "group a any w1 w2\ngroup b all a w3\nquorum b\n",
        "tabs, spaces and blank lines": f"\n \t log\t{LOG_VKEY}  \n\n\tquorum \t none \n",
        "comments": f"# a\n\t# b\nlog {LOG_VKEY}\n#quorum w1\nquorum none\n",
        "URLs, one with a fragment": (
            f"log {LOG_VKEY} https://ledgergrid.example/#log1\nwitness w {W1} https://w.example/\n"
            "quorum w\n"
        ),
        "no final newline": f"log {LOG_VKEY}\nquorum none",
        "a name that is not ASCII": f"log {LOG_VKEY}\nwitness свидетель {W1}\nquorum свидетель\n",
        "three logs": f"log {PETER}\nlog {ENOCH}\nlog {C2SP_EXAMPLE}\nquorum none\n",
    }
    return [
        accept(f"policy with {name}", "parse_trust_policy", {"policy": show(text.encode())})
        for name, text in good.items()
    ]


def _refused() -> list[Case]:
    log = f"log {LOG_VKEY}\n"
    same_key = format_vkey(WitnessKey("other.example/w", WITNESS.public.public_key))
    log_as_witness = format_vkey(WitnessKey("w.example", LOG.public.public_key))
    bad = {
        "nothing": "",
        "no quorum": log,
        "no log": "quorum none\n",
        "two quorums": log + "quorum none\nquorum none\n",
        "quorum of an unknown name": log + "quorum w1\n",
        "quorum of two names": HEAD + "quorum w1 w2\n",
        "quorum above its witness": f"{log}quorum w1\nwitness w1 {W1}\n",
        "group above its member": f"{log}group g any w1\nwitness w1 {W1}\nquorum g\n",
        "group of itself": HEAD + "group g any g\nquorum g\n",
        "group of none": HEAD + "group g any none\nquorum g\n",
        "group named none": HEAD + "group none any w1\nquorum none\n",
        "group named like a witness": HEAD + "group w1 any w2\nquorum w1\n",
        "group of nobody": HEAD + "group g all\nquorum g\n",
        "group with a member twice": HEAD + "group g 2 w1 w1\nquorum g\n",
        "member of two groups": HEAD + "group a any w1\ngroup b any w1 w2\nquorum b\n",
        "group of 0": HEAD + "group g 0 w1\nquorum g\n",
        "group of 4 in 3": HEAD + "group g 4 w1 w2 w3\nquorum g\n",
        "group of 02": HEAD + "group g 02 w1 w2\nquorum g\n",
        "group of +2": HEAD + "group g +2 w1 w2\nquorum g\n",
        "group of 1_0": HEAD + "group g 1_0 w1 w2\nquorum g\n",
        "group of a digit of another script": HEAD + "group g ٢ w1 w2\nquorum g\n",
        "group of superscript two": HEAD + "group g ² w1 w2\nquorum g\n",
        "group of most": HEAD + "group g most w1 w2\nquorum g\n",
        "log twice": log + log + "quorum none\n",
        "log with a witness's key": f"log {W1}\nquorum none\n",
        "log with an ML-DSA-44 key": f"log {PQ_VKEY}\nquorum none\n",
        "log with a broken key": f"log {LOG_VKEY[:-1]}d\nquorum none\n",
        "witness named none": f"{log}witness none {W1}\nquorum none\n",
        "witness's name twice": f"{log}witness w {W1}\nwitness w {W2}\nquorum w\n",
        "witness's key twice": f"{log}witness a {W1}\nwitness b {W1}\nquorum a\n",
        "witness's key under another name": (
            f"{log}witness a {W1}\nwitness b {same_key}\nquorum a\n"
        ),
        "log that witnesses itself": f"{log}witness a {log_as_witness}\nquorum a\n",
        "comment behind words": log + "quorum none # nobody\n",
        "group with a comment for a member": HEAD + "group g any w1 #w2\nquorum g\n",
        "unknown word": log + "mirror m\nquorum none\n",
        "word in capitals": log.replace("log ", "LOG ") + "quorum none\n",
        "carriage returns": log + "quorum none\r\n",
        "carriage return behind a URL": f"log {LOG_VKEY} https://a.example\r\nquorum none\n",
        "vertical tab": log + "quorum\vnone\n",
        "no-break space": log + "quorum\u00a0none\n",
        "zero byte": log + "# \x00\nquorum none\n",
        "escape sequence in a name": f"{log}witness w\x1b[2J {W1}\nquorum none\n",
        "delete": log + "# \x7f\nquorum none\n",
        "byte order mark": "\ufeff" + log + "quorum none\n",
    }
    group_of_many = {"utf8": "9", "repeat": 5_000, "after": {"utf8": " w1\nquorum g\n"}}
    return [
        *(
            refuse(f"policy with {name}", "parse_trust_policy", {"policy": show(text.encode())})
            for name, text in bad.items()
        ),
        refuse(
            "policy with a byte that is not UTF-8",
            "parse_trust_policy",
            {"policy": {"hex": (log + "quorum none\n#").encode().hex() + "ff"}},
        ),
        refuse(
            "policy with a number of 5,000 digits",
            "parse_trust_policy",
            {"policy": {"utf8": HEAD + "group g ", "after": group_of_many}},
        ),
        refuse(
            "policy with too many lines",
            "parse_trust_policy",
            {"policy": {"utf8": "\n", "repeat": limits.POLICY_LINES}},
            "too-large",
        ),
        refuse(
            "policy with too many bytes",
            "parse_trust_policy",
            {"policy": {"utf8": "#", "repeat": limits.POLICY_BYTES + 1}},
            "too-large",
        ),
    ]


def _verdicts() -> list[Case]:
    nested = HEAD + "group a any w1 w2\ngroup b all a w3\nquorum b\n"
    stranger = f"log {PETER}\nquorum none\n"
    one = cosign(TALL_NOTE, WITNESS)
    pq = TALL_NOTE + PQ_LINE.encode()
    grease = "— witness.example/w1 AAAAAGdyZWFzZQ==\n— example.com/x AAAAAGdyZWFzZQ==\n".encode()
    met = {
        "no witness asked": (f"log {LOG_VKEY}\nquorum none\n", TALL_NOTE, True),
        "two asked, none came": (TWO_OF_THREE, TALL_NOTE, False),
        "two asked, one came": (TWO_OF_THREE, one, False),
        "two asked, one came twice": (TWO_OF_THREE, cosign(one, WITNESS, time_s=1), False),
        "two asked, two came": (TWO_OF_THREE, cosign(one, WITNESS_3), True),
        "ML-DSA-44 and Ed25519 asked, both came": (BOTH, one + PQ_LINE.encode(), True),
        "ML-DSA-44 and Ed25519 asked, only ML-DSA-44 came": (BOTH, pq, False),
        "ML-DSA-44 and Ed25519 asked, only Ed25519 came": (BOTH, one, False),
        "lines by unknown keys between": (BOTH, TALL_NOTE + grease + pq[len(TALL_NOTE) :], False),
        "nested, outer one missing": (nested, cosign(one, WITNESS_2), False),
        "nested, met": (nested, cosign(one, WITNESS_3), True),
        "a witness nobody asked": (f"log {LOG_VKEY}\nquorum none\n", one, True),
        "another witness than asked": (HEAD + "quorum w1\n", cosign(TALL_NOTE, WITNESS_2), False),
    }
    forged = one.replace(b"70000", b"70001")
    return [
        *(
            accept(
                f"checkpoint with {name}",
                "verify_trusted",
                {"policy": show(policy.encode()), "note": show(note)},
                quorum_met,
            )
            for name, (policy, note, quorum_met) in met.items()
        ),
        refuse(
            "checkpoint of a log nobody listed",
            "verify_trusted",
            {"policy": show(stranger.encode()), "note": show(TALL_NOTE)},
            "bad-signature",
        ),
        refuse(
            "checkpoint changed after it was signed",
            "verify_trusted",
            {"policy": show(TWO_OF_THREE.encode()), "note": show(forged)},
            "bad-signature",
        ),
        refuse(
            "checkpoint with a broken cosignature",
            "verify_trusted",
            {
                "policy": show(TWO_OF_THREE.encode()),
                "note": show(TALL_NOTE + one.splitlines(keepends=True)[-1].replace(b"AAA", b"AAB")),
            },
            "bad-signature",
        ),
        refuse(
            "checkpoint with a broken ML-DSA-44 cosignature",
            "verify_trusted",
            {
                "policy": show(BOTH.encode()),
                "note": show(TALL_NOTE + PQ_LINE[:-9].encode() + b"AAAAAAA=\n"),
            },
            "bad-signature",
        ),
    ]


def _asked() -> list[Case]:
    """Policies by which a service asks witnesses."""
    asked = f"witness w1 {W1} https://w1.example/\nwitness pq {PQ_VKEY} http://pq.example\n"
    good = {
        "no log": asked + "quorum w1\n",
        "a log": f"log {LOG_VKEY}\n{asked}group g all w1 pq\nquorum g\n",
        "no quorum asked": asked + "quorum none\n",
    }
    bad = {
        "no quorum": asked,
        "no witness": "quorum none\n",
        "a witness without a URL": f"{asked}witness w2 {W2}\nquorum w1\n",
    }
    ask = "parse_witness_policy"
    return [
        *(accept(f"asking with {n}", ask, {"policy": show(x.encode())}) for n, x in good.items()),
        *(refuse(f"asking with {n}", ask, {"policy": show(x.encode())}) for n, x in bad.items()),
    ]


def cases() -> list[Case]:
    return [*_parsed(), *_refused(), *_verdicts(), *_asked()]
