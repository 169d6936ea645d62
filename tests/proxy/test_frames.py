"""Frames survive any split of the stream, in both directions."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.frames import (
    Code,
    InspectionFrame,
    VerdictFrame,
    pack_inspection,
    pack_verdict,
    unpack_inspections,
    unpack_verdicts,
)

IDS = st.integers(0, 2**64 - 1)
VALUES = st.lists(st.binary(max_size=40).map(lambda value: value.replace(b"\n", b"")), max_size=6).filter(
    lambda values: values != [b""]  # a lone empty value is no text to inspect
)
INSPECTIONS = st.lists(
    st.builds(
        InspectionFrame,
        IDS,
        st.floats(allow_nan=False),
        st.binary(max_size=60),
        VALUES,
        st.binary(max_size=300),
    ),
    max_size=6,
)
VERDICTS = st.lists(
    st.builds(
        VerdictFrame,
        IDS,
        st.sampled_from(Code).map(int),
        st.lists(st.integers(0, 0xFFFF), max_size=255).map(tuple),
    ),
    max_size=6,
)


def pieces(data, wire):
    """`wire` cut at arbitrary positions."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@given(INSPECTIONS, st.data())
def test_inspections_come_out_as_they_went_in(frames, data):
    wire = b"".join(
        pack_inspection(frame.id, frame.deadline, frame.uri, b"\n".join(frame.header_values), frame.body)
        for frame in frames
    )
    buffer, got = bytearray(), []
    for piece in pieces(data, wire):
        buffer += piece
        got += unpack_inspections(buffer)
    assert got == frames
    assert not buffer


@given(VERDICTS, st.data())
def test_verdicts_come_out_as_they_went_in(frames, data):
    wire = b"".join(pack_verdict(frame.id, Code(frame.code), frame.hits) for frame in frames)
    buffer, got = bytearray(), []
    for piece in pieces(data, wire):
        buffer += piece
        got += unpack_verdicts(buffer)
    assert got == frames
    assert not buffer


def test_a_verdict_names_the_last_255_hits():
    """The last hit is the one that blocked, so that the first are the ones to leave out."""
    (frame,) = unpack_verdicts(bytearray(pack_verdict(7, Code.BLOCKED, tuple(range(300)))))
    assert frame.hits == tuple(range(45, 300))


def test_an_unfinished_frame_stays_in_the_buffer():
    whole = pack_inspection(1, 2.0, b"/", b"a\nb", b"body")
    buffer = bytearray(whole + whole[:-1])
    assert [frame.id for frame in unpack_inspections(buffer)] == [1]
    assert buffer == whole[:-1]
