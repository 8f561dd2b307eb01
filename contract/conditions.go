package contract

// Condition is a kind of fault that begins and ends. While it lasts it is listed in status.health, and both ends are
// events (ConditionRaised, ConditionCleared).
type Condition struct {
	Code     string
	Severity Severity
	Text     Label // for people: what is wrong, and where to look first
}

// Codes of conditions.
const (
	LineDown            = "line_down"            // of each device of the line
	DeviceSilent        = "device_silent"        // no answer to several polls in a row
	DevicePartial       = "device_partial"       // answers, but not everything
	DeviceBusy          = "device_busy"          // answers that it cannot answer now
	DeviceExchanged     = "device_exchanged"     // another serial number answers
	PhaseMissing        = "phase_missing"        // one phase has no voltage
	PhaseReversed       = "phase_reversed"       // the power of one phase has the wrong sign
	NotRouted           = "not_routed"           // the broker accepts messages that it does not forward
	TwinSuspected       = "twin_suspected"       // another client seems to connect under this node's id
	MessageLimited      = "message_limited"      // only small messages pass on the way to the broker
	TopicRefused        = "topic_refused"        // the broker ends sessions on something that it does not allow
	StatusOverwritten   = "status_overwritten"   // another client writes this node's status
	PacketRefused       = "packet_refused"       // the broker sends what no client may receive, or too much at once
	CredentialsUnusable = "credentials_unusable" // a file that the next connection needs
	// the configuration file differs from the one that the agent started with
	ConfigChanged = "config_changed"
	ClockUnset    = "clock_unset"
	StoreFull     = "store_full"     // the disk has no room
	StoreReadOnly = "store_readonly" // the disk refuses to be written for another reason
	StoreDenied   = "store_denied"   // the files belong to another user, or another agent has them open
	StoreMissing  = "store_missing"  // the directory is not there and cannot be made
	StateUnsaved  = "state_unsaved"  // the small files beside the store cannot be read or written
	RunsAsRoot    = "runs_as_root"   // in the directory of another user
	StoreDamaged  = "store_damaged"  // a damaged store was set aside, and is still there
)

// conditions is the table of conditions, in the order of events.md.
var conditions = []Condition{
	{LineDown, Fault, Label{
		"La porta verso il dispositivo non si apre: controllare cavo, convertitore e alimentazione",
		"The port to the device does not open: check cable, converter and power"}},
	{DeviceSilent, Fault, Label{
		"Il dispositivo non risponde: controllare alimentazione, indirizzo, velocità e i fili A/B",
		"The device does not answer: check power, address, speed and the wires A/B"}},
	{DevicePartial, Warning, Label{
		"Il dispositivo risponde solo in parte: alcuni valori mancano",
		"The device answers only in part: some values are missing"}},
	{DeviceBusy, Warning, Label{
		"Il dispositivo risponde che per ora non può: è in avvio, a riposo o occupato",
		"The device answers that it cannot now: it is starting, resting or busy"}},
	{DeviceExchanged, Warning, Label{
		"Risponde un dispositivo con un altro numero di serie: l'energia non viene conteggiata finché qualcuno conferma il cambio (bordo confirm)",
		"A device with another serial number answers: no energy is booked until somebody confirms the exchange (bordo confirm)"}},
	{PhaseMissing, Warning, Label{
		"Manca la tensione di una fase: controllare fusibile, interruttore e morsetto di quella fase",
		"The voltage of one phase is missing: check its fuse, breaker and terminal"}},
	{PhaseReversed, Warning, Label{
		"La potenza di una fase ha il segno opposto alle altre due: controllare il verso del TA di quella fase (S1/S2, freccia)",
		"The power of one phase has the sign opposite to the other two: check the direction of its current transformer"}},
	{NotRouted, Fault, Label{
		"Il broker accetta i messaggi ma non li consegna: controllare i permessi di questo nodo",
		"The broker accepts messages but does not deliver them: check the access rules of this node"}},
	{TwinSuspected, Fault, Label{
		"Un altro apparecchio si collega con l'identità di questo nodo: cercare una scheda SD copiata",
		"Another box connects under the identity of this node: look for a copied SD card"}},
	{MessageLimited, Warning, Label{
		"Verso il broker passano solo messaggi piccoli: controllare il limite di dimensione del broker (mqtt.max_message) e la MTU della rete",
		"Only small messages reach the broker: check the broker's size limit (mqtt.max_message) and the MTU of the network"}},
	{TopicRefused, Fault, Label{
		"Il broker chiude la connessione su un topic o una sottoscrizione che non permette: controllare i permessi di questo nodo",
		"The broker closes the connection on a topic or subscription that it does not allow: check the access rules of this node"}},
	{StatusOverwritten, Warning, Label{
		"Qualcun altro scrive lo stato di questo nodo sul broker: cercare uno script, un bridge o una regola del centro che pubblica su quel topic",
		"Something else writes this node's status on the broker: look for a script, a bridge or a rule at the centre that publishes on that topic"}},
	{PacketRefused, Fault, Label{
		"Il broker invia un messaggio troppo grande o non valido e il nodo chiude il collegamento: controllare i messaggi retained sui topic di questo nodo",
		"The broker sends a message that is too large or invalid, and the node closes the connection: check the retained messages on this node's topics"}},
	{CredentialsUnusable, Fault, Label{
		"Una password, un certificato o una chiave non si possono usare: il prossimo collegamento al broker non riuscirà, correggere il file",
		"A password, certificate or key cannot be used: the next connection to the broker will not succeed, mend the file"}},
	{ConfigChanged, Warning, Label{
		"Configurazione cambiata dopo l'avvio: systemctl restart bordo (fino ad allora vale quella vecchia)",
		"Configuration changed since start: systemctl restart bordo (until then the old one applies)"}},
	{ClockUnset, Warning, Label{
		"L'orologio non è regolato: gli orari dei valori possono essere sbagliati",
		"The clock is not set: the times of the values may be wrong"}},
	{StoreFull, Fault, Label{
		"Il disco è pieno: i valori sono solo in memoria",
		"The disk is full: values are held in memory only"}},
	{StoreReadOnly, Fault, Label{
		"Il disco non si lascia scrivere: i valori sono solo in memoria, la scheda potrebbe essere alla fine",
		"The disk cannot be written: values are held in memory only, and the card may be worn out"}},
	{StoreDenied, Fault, Label{
		"L'agente non può usare la cartella dell'archivio: i valori sono solo in memoria; il dettaglio dice di chi è e come renderla (chown)",
		"The agent may not use the directory of the store: values are held in memory only; the detail says whose it is and how to give it back (chown)"}},
	{StoreMissing, Fault, Label{
		"La cartella dell'archivio non c'è e non si può creare: i valori sono solo in memoria; controllare se manca un disco",
		"The directory of the store is not there and cannot be made: values are held in memory only; check whether a disk is missing"}},
	{StoreDamaged, Warning, Label{
		"L'archivio era danneggiato ed è stato messo da parte: le perdite sono segnalate",
		"The store was damaged and was set aside: what is lost is told"}},
	{StateUnsaved, Warning, Label{
		"Lo stato salvato non si può leggere o scrivere: dopo un riavvio l'energia e i conteggi ripartono dall'ultimo salvato",
		"The saved state cannot be read or written: after a restart energy and counts go on from what was saved last"}},
	{RunsAsRoot, Warning, Label{
		"L'agente è stato avviato come root in una cartella di un altro utente: poi il servizio non potrà usare i file",
		"The agent was started as root in the directory of another user: the service will not be able to use the files"}},
}

// Conditions returns the table. The caller must not change it.
func Conditions() []Condition { return conditions }

// ConditionOf returns the entry for a code.
func ConditionOf(code string) (Condition, bool) {
	for _, c := range conditions {
		if c.Code == code {
			return c, true
		}
	}
	return Condition{}, false
}
