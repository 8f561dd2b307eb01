package contract

import "strings"

// Class says how a node stores a record, and with the order of [Classes] when it delivers an old one.
type Class string

// The classes.
const (
	ClassEvent    Class = "event"    // sealed immediately, discarded last
	ClassCard     Class = "card"     // personal data, even as a pseudonym: erased once delivered or after a week
	ClassInterval Class = "interval" // the account of a quarter of an hour, kept for years
	ClassReading  Class = "reading"  // a sample; no event has it
)

// Classes returns all classes in the order in which a node delivers its backlog.
func Classes() []Class { return []Class{ClassEvent, ClassCard, ClassInterval, ClassReading} }

// Route is the way of an event through a node.
type Route struct {
	Class Class
	Kind  string // of the topic that it is published on: KindEvent or KindRes
}

// RouteOf returns the route of an event type. An unknown type is an event, except that everything about access cards
// (bordo.card.*) is personal data.
func RouteOf(eventType string) Route {
	r := Route{ClassEvent, KindEvent}
	if t, known := EventTypeOf(eventType); known {
		r.Class = t.Class
	} else if strings.HasPrefix(eventType, "bordo.card.") {
		r.Class = ClassCard
	}
	if eventType == CommandEvent {
		r.Kind = KindRes
	}
	return r
}
