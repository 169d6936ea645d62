"""A node's memory on disk: whole or absent, never half, and nothing unreadable is lost."""

import msgspec
import pytest

from contract.messages import RuleSetRef, RuleSetText
from proxy.last_good import NodeMemory, NodeState
from rules.parse import digest_of


def text_of(yaml, version=3):
    return RuleSetText(RuleSetRef(digest_of(yaml), version), yaml)


FULL = NodeMemory(epoch=7, last_known_good=text_of(b"name: a"), kill_switch=True, kill_switch_local=True)


def test_what_was_saved_is_loaded(tmp_path):
    NodeState("ams-1", str(tmp_path / "deep" / "state")).save(FULL)
    assert NodeState("ams-1", str(tmp_path / "deep" / "state")).load() == (FULL, None)


def test_without_a_folder_or_a_file_it_remembers_nothing(tmp_path):
    NodeState("ams-1", None).save(FULL)
    assert NodeState("ams-1", None).load() == (NodeMemory(), None)
    assert NodeState("ams-1", str(tmp_path)).load() == (NodeMemory(), None)


def test_nodes_share_a_folder(tmp_path):
    for name, epoch in (("ams-1", 1), ("ams-2", 2)):
        NodeState(name, str(tmp_path)).save(NodeMemory(epoch=epoch))
    assert NodeState("ams-1", str(tmp_path)).load()[0].epoch == 1


def test_saving_replaces_the_file_whole(tmp_path, monkeypatch):
    """A write that fails half-way leaves the old memory."""
    state = NodeState("ams-1", str(tmp_path))
    state.save(FULL)

    def disk_full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        state.save(NodeMemory(epoch=8))
    assert state.load() == (FULL, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        msgspec.msgpack.encode({"epoch": "seven"}),
        msgspec.msgpack.encode(FULL)[:-3],
        msgspec.msgpack.encode(NodeMemory(last_known_good=RuleSetText(RuleSetRef("0" * 64, 1), b"name: a"))),
    ],
    ids=["empty", "garbage", "wrong type", "cut short", "other digest"],
)
def test_a_file_that_cannot_be_trusted_is_set_aside(tmp_path, content):
    (tmp_path / "ams-1.state").write_bytes(content)
    memory, complaint = NodeState("ams-1", str(tmp_path)).load()
    assert memory == NodeMemory()
    assert "set aside as ams-1.unreadable" in complaint
    assert (tmp_path / "ams-1.unreadable").read_bytes() == content
    assert not (tmp_path / "ams-1.state").exists()


def test_a_file_that_cannot_be_read_is_said_and_left(tmp_path):
    (tmp_path / "ams-1.state").mkdir()
    memory, complaint = NodeState("ams-1", str(tmp_path)).load()
    assert memory == NodeMemory()
    assert "Is a directory" in complaint
