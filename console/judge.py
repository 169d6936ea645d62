"""What the console itself has to say about a run, several times a second.

In: the fold and the moment. Out: the events that are due: a node went silent or came back, the push has been
recovered from, the status word changed. Pure; whoever calls records them, and only then are they true.
"""

from console.sentence import sentence
from console.state import SOURCE, RunState
from console.status_word import recovered_since, status_word
from contract.record import Event
from contract.vocabulary import EventKind


def nodes_changed(state: RunState, now_t: float) -> list[Event]:
    """node_up and node_down: a node not heard of for SILENT_AFTER_S is down."""
    events = []
    for node in state.fleet.nodes.values():
        answers = node.answers(now_t)
        if answers and not node.up:
            events.append(Event(now_t, EventKind.NODE_UP, SOURCE, f"{node.name} answers", {"node": node.name}))
        elif node.up and not answers:
            text = f"{node.name} is silent"
            events.append(Event(now_t, EventKind.NODE_DOWN, SOURCE, text, {"node": node.name}))
    return events


def recovery(state: RunState, now_t: float) -> list[Event]:
    """Said once per push. `since_t` is when all was served again; the event comes after it has held."""
    since_t = recovered_since(state.facts(now_t))
    if since_t is None or state.push is None:
        return []
    after_s = since_t - state.push.t
    data = {"since_t": round(since_t, 3), "after_push_s": round(after_s, 3), "outage": state.push.outage}
    text = f"All traffic is served again, {after_s:.1f} s after the push"
    if not state.push.outage:
        text = "The push was taken back before its users saw an outage"
    return [Event(now_t, EventKind.RECOVERED, SOURCE, text, data)]


def word_changed(state: RunState, now_t: float) -> list[Event]:
    """The status word, when it is another one than before."""
    facts = state.facts(now_t)
    word = status_word(facts)
    if word is state.status:
        return []
    data = {"word": word, "before": state.status}
    return [Event(now_t, EventKind.STATUS, SOURCE, sentence(word, facts), data)]


#: In this order, each seeing what the one before it said.
JUDGES = (nodes_changed, recovery, word_changed)
