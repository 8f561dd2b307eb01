package contract

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Types of the agent's own events. EventTypes returns all types with their data.
const (
	ConditionRaised  = "bordo.condition.raised.v1"
	ConditionCleared = "bordo.condition.cleared.v1"

	IdentityConflict = "bordo.identity.conflict.v1"

	StoreOpened = "bordo.store.opened.v1"
	StoreGap    = "bordo.store.gap.v1"
	ClockSet    = "bordo.clock.set.v1"

	EnergyInterval = "bordo.energy.interval.v1"
	EnergySegment  = "bordo.energy.segment.v1"
	EnergyRejected = "bordo.energy.rejected.v1"
	DeviceReplaced = "bordo.device.replaced.v1"

	// Sent by the guards of a driver.
	FrameRejected  = "bordo.frame.rejected.v1"
	DeviceFrozen   = "bordo.device.frozen.v1"
	CounterDoubted = "bordo.counter.doubted.v1"
	CounterReset   = "bordo.counter.reset.v1"

	CommandRefused = "bordo.command.refused.v1"
)

// EventType describes an event and its data. A consumer must expect unknown types, and unknown keys in known types: it
// keeps the event and continues.
type EventType struct {
	Type   string
	Class  Class // how it is stored, and in which order it is delivered after an outage
	Text   Label // what happened, in a sentence
	Fields []EventField
}

// EventField is one key of an event's data.
type EventField struct {
	Key      string
	JSON     string // integer, number, string, boolean or value (any of them)
	Optional bool   // the key may be missing
	Null     bool   // the value may be null
	Words    []string
	Text     string // its meaning, in English
}

// Words used in events.
var (
	gapClasses    = []string{"any", "event", "interval", "reading", "card"}
	gapReasons    = []string{"evicted", "unclean", "damaged", "disk_full", "retention", "unreadable", "memory"}
	methods       = []string{"counter", "integral", "mixed"}
	clocks        = []string{string(ClockSync), string(ClockEst), string(ClockFree)}
	severities    = []string{string(Warning), string(Fault)}
	segmentCauses = []string{"restart", "reset", "rollover", "replaced", "jump", "outage", "unusable", "clock"}
	rejectCauses  = []string{"fall", "jump", "range"}
	commandStates = []string{
		string(Accepted), string(Rejected), string(Running), string(Done), string(Failed), string(Expired),
		string(Duplicate), string(Unknown),
	}
)

// eventTypes is the table, in the order of events.md.
var eventTypes = []EventType{
	{StoreOpened, ClassEvent, Label{
		"Il nodo ha aperto l'archivio: comincia una nuova epoca, e questo è il suo primo record",
		"The node has opened its store: a new epoch begins, and this is its first record"}, []EventField{
		{Key: "clean", JSON: "boolean", Text: "the store before was closed in order"},
		{Key: "prev_ep", JSON: "string", Optional: true,
			Text: "the epoch before; missing when there was none or nothing is known of it"},
		{Key: "prev_last_sealed", JSON: "integer", Optional: true,
			Text: "the highest seq of prev_ep that is known to have reached the disk"},
		{Key: "boot", JSON: "string", Optional: true,
			Text: "the start of the machine in which this epoch runs; see bordo.clock.set.v1"},
		{Key: "damage", JSON: "string", Optional: true, Text: "what was found damaged, in words"},
		{Key: "set_aside", JSON: "string", Optional: true, Text: "where damaged files were put"},
		{Key: "memory", JSON: "boolean", Optional: true,
			Text: "true: the disk cannot be used, and this epoch exists in memory alone; another one begins when it can"},
	}},
	{StoreGap, ClassEvent, Label{
		"Alcuni record non arriveranno, o non tutti",
		"Some records will not arrive, or not all of them"}, []EventField{
		{Key: "ep", JSON: "string", Text: "the epoch; empty when nothing is known of it any more"},
		{Key: "class", JSON: "string", Words: gapClasses, Text: "what is missing; any: all classes"},
		{Key: "from", JSON: "integer", Text: "the first seq that may be missing"},
		{Key: "to", JSON: "integer", Null: true,
			Text: "the last one; null: up to the end of the epoch, as far as it got"},
		{Key: "n", JSON: "integer", Optional: true, Text: "how many records were lost, where that is known"},
		{Key: "why", JSON: "string", Words: gapReasons,
			Text: "evicted: the store was full; unclean: power cut or crash; damaged: the disk gave back less than was " +
				"written; disk_full: nothing could be written; retention: personal data that reached its age limit; unreadable: the node could not read its own record; " +
				"memory: nothing is lost yet, but the node cannot use its disk: what is not delivered when it ends is lost. With an empty ep: it cannot read what is on its disk"},
	}},
	{ClockSet, ClassEvent, Label{
		"L'orologio è stato regolato: gli orari già inviati come \"free\" si possono correggere",
		"The clock was set: times that were already sent as \"free\" can be corrected"}, []EventField{
		{Key: "boot", JSON: "string", Text: "the start of the machine; epochs belong to it by their bordo.store.opened.v1"},
		{Key: "offset", JSON: "integer",
			Text: "ms to add to ts of every record of this boot that was sent with clk free"},
	}},
	{ConditionRaised, ClassEvent, Label{"È cominciata una condizione di guasto", "A condition has begun"},
		conditionFields(
			EventField{Key: "detail", JSON: "string", Optional: true, Text: "what the machine said"},
			EventField{Key: "cause", JSON: "string", Optional: true,
				Text: "why, where the node can tell: refused, unreachable, silence, hung_up, wrong_unit, wrong_framing, wrong_transaction, checksum, noise, echo, other_master, refusals; more may come"})},
	{ConditionCleared, ClassEvent, Label{"Una condizione di guasto è finita", "A condition has ended"}, conditionFields(
		EventField{Key: "until", JSON: "integer",
			Text: "ms UTC, when it ended: the fault was not seen after it. The event comes later, see Conditions"},
		EventField{Key: "flaps", JSON: "integer", Optional: true,
			Text: "how many times the fault came back in between; missing: never"})},
	{IdentityConflict, ClassEvent, Label{
		"Un altro apparecchio sembra collegarsi con l'identità di questo nodo",
		"Another box seems to connect under this node's identity"}, []EventField{
		{Key: "sessions", JSON: "integer", Text: "how many sessions in a row ended as soon as they began"},
	}},
	{EnergyInterval, ClassInterval, Label{
		"Energia di un quarto d'ora; è una stima, non vale per la fatturazione",
		"Energy of a quarter of an hour; an estimate, never settlement"}, intervalFields()},
	{EnergySegment, ClassEvent, Label{
		"Il contatore è ripartito o è stato sostituito: comincia un nuovo tratto",
		"The counter has restarted or was replaced: a new segment begins"}, []EventField{
		{Key: "point", JSON: "string", Text: "the counter"},
		{Key: "segment", JSON: "integer", Text: "the number of the segment that begins"},
		{Key: "cause", JSON: "string", Words: segmentCauses,
			Text: "restart: the node had no record of the counter; reset: it fell back; rollover: it passed its largest value; " +
				"replaced: another meter; jump: it rose further than the rated power allows; outage: it was not read for more than 31 days; " +
				"unusable: it could not be used and the power was integrated; clock: the node's clock was put back"},
		{Key: "last", JSON: "number", Null: true, Text: "the last value of the segment before"},
		{Key: "first", JSON: "number", Text: "the first value of the new one"},
		{Key: "meter", JSON: "string", Optional: true, Text: "serial number of the meter from now on"},
	}},
	{EnergyRejected, ClassEvent, Label{
		"Letture del contatore non credibili: non vengono conteggiate",
		"Readings of the counter that cannot be believed: they are not booked"}, []EventField{
		{Key: "point", JSON: "string", Text: "the counter"},
		{Key: "cause", JSON: "string", Words: rejectCauses,
			Text: "fall: below the value before; jump: further than the rated power allows; range: negative or absurd"},
		{Key: "value", JSON: "number", Text: "the last value that was not believed"},
		{Key: "last", JSON: "number", Null: true, Text: "the last value that was"},
		{Key: "n", JSON: "integer", Text: "how many readings in a row were not believed"},
	}},
	{DeviceReplaced, ClassEvent, Label{
		"Al posto del dispositivo ne risponde un altro: le letture restano incerte finché qualcuno conferma",
		"Another device answers in this one's place: readings stay uncertain until somebody confirms"}, []EventField{
		{Key: "serial_before", JSON: "string", Text: "serial number that was known"},
		{Key: "serial", JSON: "string", Text: "serial number that answers now"},
	}},
	{FrameRejected, ClassEvent, Label{
		"Il dispositivo ha dato una risposta vuota: non ne vale niente",
		"The device gave an empty answer: nothing of it counts"}, []EventField{
		{Key: "why", JSON: "string", Text: "null_frame: everything was zero that never is"},
	}},
	{DeviceFrozen, ClassEvent, Label{
		"I valori non cambiano più sebbene passi potenza: possono essere vecchi",
		"The values do not change although power flows: they may be old"}, []EventField{
		{Key: "polls", JSON: "integer", Text: "how many polls in a row gave the same values"},
	}},
	{CounterDoubted, ClassEvent, Label{
		"Un contatore ha dato un valore non credibile",
		"A counter gave a value that cannot be believed"}, []EventField{
		{Key: "point", JSON: "string", Text: "the counter"},
		{Key: "value", JSON: "number", Text: "what it said"},
		{Key: "last", JSON: "number", Text: "the last value that was believed"},
		{Key: "why", JSON: "string", Text: "fell: below the last value; leapt: further than the rated power allows"},
	}},
	{CounterReset, ClassEvent, Label{
		"Il contatore prosegue da un altro valore, confermato da più letture",
		"The counter goes on from another value, confirmed by several readings"}, []EventField{
		{Key: "point", JSON: "string", Text: "the counter"},
		{Key: "from", JSON: "number", Text: "the last value before"},
		{Key: "to", JSON: "number", Text: "the value from which it goes on"},
	}},
	{CommandRefused, ClassEvent, Label{
		"Sono arrivati comandi senza firma valida; nessuno è stato eseguito",
		"Commands without a valid signature arrived; none was executed"}, []EventField{
		{Key: "n", JSON: "integer", Text: "how many"},
		{Key: "since", JSON: "integer", Text: "ms UTC, the first of them"},
	}},
	{CommandEvent, ClassEvent, Label{"Un comando ha cambiato stato; si pubblica su res",
		"A command has changed its state; published on res"}, []EventField{
		{Key: "id", JSON: "string", Text: "of the command"},
		{Key: "op", JSON: "string", Text: "operation"},
		{Key: "dev", JSON: "string", Text: "device"},
		{Key: "state", JSON: "string", Words: commandStates,
			Text: "accepted and running are followed by another; unknown: it was written and no answer came, never repeated by the node"},
		{Key: "code", JSON: "string", Optional: true, Text: "reason, for a program"},
		{Key: "detail", JSON: "string", Optional: true, Text: "reason, for a person"},
		{Key: "value", JSON: "value", Optional: true, Text: "what was read back"},
	}},
}

// Gap is what the data of StoreGap hold.
type Gap struct {
	Ep    string  `json:"ep"` // empty: an epoch that is no longer known
	Class string  `json:"class"`
	From  uint64  `json:"from"`
	To    *uint64 `json:"to"`          // nil: up to the end of the epoch
	N     *uint64 `json:"n,omitempty"` // number of lost records; nil: unknown
	Why   string  `json:"why"`
}

// DecodeGap reads the data of a StoreGap.
func DecodeGap(data []byte) (Gap, error) {
	var g Gap
	if err := json.Unmarshal(data, &g); err != nil {
		return Gap{}, fmt.Errorf("decode gap: %w", err)
	}
	if g.Ep != "" {
		if err := CheckEpoch(g.Ep); err != nil {
			return Gap{}, fmt.Errorf("decode gap: %w", err)
		}
	}
	return g, nil
}

func conditionFields(own ...EventField) []EventField {
	return append([]EventField{
		{Key: "code", JSON: "string", Text: "see the table of conditions"},
		{Key: "severity", JSON: "string", Words: severities,
			Text: "warning: works, but somebody should look; fault: something does not work"},
		{Key: "since", JSON: "integer", Text: "ms UTC, when it began"},
	}, own...)
}

func intervalFields() []EventField {
	return []EventField{
		{Key: "start", JSON: "integer", Text: "ms UTC, a whole quarter of an hour; with node, dev and point the key of the quarter"},
		{Key: "point", JSON: "string", Text: "the counter, or the power that was integrated"},
		{Key: "kwh", JSON: "number", Null: true, Text: "energy; null when nothing can be said"},
		{Key: "from", JSON: "number", Null: true, Text: "counter at the beginning"},
		{Key: "to", JSON: "number", Null: true, Text: "counter at the end"},
		{Key: "meter", JSON: "string", Optional: true, Text: "serial number of the meter"},
		{Key: "segment", JSON: "integer", Text: "rises when the counter restarts; from and to are of one segment"},
		{Key: "coverage", JSON: "number", Text: "share of the quarter that was seen, 0 to 1"},
		{Key: "samples", JSON: "integer", Text: "readings that it rests on"},
		{Key: "method", JSON: "string", Words: methods, Text: "how the energy was got"},
		{Key: "clk", JSON: "string", Words: clocks, Text: "the worst quality of time in the quarter"},
		{Key: "rev", JSON: "integer", Text: "0, and one more for each correction: the highest wins"},
		{Key: "pod", JSON: "string", Optional: true, Text: "point of delivery, from the device's about"},
		{Key: "role", JSON: "string", Optional: true, Text: "production, exchange, ..., from the device's about"},
	}
}

// EventTypes returns the table. The caller must not change it.
func EventTypes() []EventType { return eventTypes }

// EventTypeOf returns the entry for a type.
func EventTypeOf(typ string) (EventType, bool) {
	if i := slices.IndexFunc(eventTypes, func(e EventType) bool { return e.Type == typ }); i >= 0 {
		return eventTypes[i], true
	}
	return EventType{}, false
}
