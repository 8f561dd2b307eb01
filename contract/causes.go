package contract

// The causes of line_down and device_silent, as far as the node can distinguish them. They appear in
// status.health[].cause and in the event that raises the condition. More may be added: treat an unknown one as none.
const (
	CauseRefused     = "refused"           // nothing listens at that port
	CauseUnreachable = "unreachable"       // no host has that address
	CauseSilence     = "silence"           // the connection or serial line is open, and nothing arrives
	CauseClosed      = "hung_up"           // the other side closes the connection instead of answering
	CauseWrongUnit   = "wrong_unit"        // another unit id answers
	CauseChecksum    = "checksum"          // answers arrive damaged
	CauseNoise       = "noise"             // bytes that are no frame
	CauseEcho        = "echo"              // only the own transmissions return
	CauseOtherMaster = "other_master"      // another master uses the line
	CauseFraming     = "wrong_framing"     // Modbus TCP where serial frames are configured, or the reverse
	CauseTransaction = "wrong_transaction" // answers carry another transaction id than their request
	CauseRefusals    = "refusals"          // the device refuses every question
)

// sentences are the texts for people about a condition with a known cause: over the network, and on a serial line where
// that differs.
var sentences = map[string]struct{ network, serial Label }{
	CauseRefused: {network: Label{
		"L'indirizzo c'è, ma nessuno ascolta su quella porta: attivare Modbus TCP nel dispositivo e controllare il numero della porta",
		"The address is there, but nothing listens on that port: switch Modbus TCP on in the device and check the port number"}},
	CauseUnreachable: {network: Label{
		"Nessuno risponde a quell'indirizzo di rete: controllare alimentazione, cavo di rete e indirizzo IP",
		"Nobody answers at that network address: check power, network cable and IP address"}},
	CauseSilence: {network: Label{
		"Il collegamento è aperto ma il dispositivo non risponde: controllare il numero (unit) e se un altro programma occupa il dispositivo",
		"The connection is open but the device does not answer: check the unit id, and whether another program holds the device"}},
	CauseClosed: {network: Label{
		"Il dispositivo chiude il collegamento: controllare se accetta questo apparecchio e se un altro programma lo occupa",
		"The device closes the connection: check whether it accepts this box, and whether another program holds it"}},
	CauseWrongUnit: {network: Label{
		"Risponde un altro numero (unit) da quello richiesto: correggere unit nella configurazione o il numero nel dispositivo",
		"Another unit id answers than the one that was asked: correct unit in the configuration, or the number in the device"}},
	CauseChecksum: {network: Label{
		"Arrivano risposte danneggiate: controllare il cavo dietro il convertitore, e se due dispositivi hanno lo stesso numero",
		"Damaged answers arrive: check the cable behind the converter, and whether two devices have the same unit id"},
		serial: Label{
			"Arrivano risposte danneggiate: controllare cavo, schermo e resistenze da 120 ohm, e se due dispositivi hanno lo stesso numero",
			"Damaged answers arrive: check cable, shield and the 120 ohm resistors, and whether two devices have the same unit id"}},
	CauseNoise: {network: Label{
		"Arrivano caratteri che non sono una risposta: controllare velocità e parità del convertitore",
		"Characters arrive that are no answer: check speed and parity of the converter"},
		serial: Label{
			"Arrivano caratteri che non sono una risposta: controllare velocità e parità, poi i fili e lo schermo",
			"Characters arrive that are no answer: check speed and parity, then wires and shield"}},
	CauseEcho: {network: Label{
		"Torna indietro solo ciò che si invia: il convertitore ha l'eco, e il dispositivo non risponde; controllare numero e fili",
		"Only what is sent comes back: the converter echoes, and the device does not answer; check unit id and wires"}},
	CauseOtherMaster: {network: Label{
		"Sulla linea parla un altro master, o c'è disturbo: scollegare datalogger e display che interrogano gli stessi dispositivi",
		"Another master talks on the line, or there is noise: disconnect loggers and displays that ask the same devices"}},
	CauseFraming: {network: Label{
		"Dall'altra parte si parla in un altro modo: provare tcp:// al posto di rtu+tcp://, o il contrario",
		"The other side frames its messages differently: try tcp:// instead of rtu+tcp://, or the reverse"}},
	CauseTransaction: {network: Label{
		"Il dispositivo risponde, ma le risposte portano un altro numero di transazione: se il gateway fa sempre così, ?ids=tolerant alla fine della porta",
		"The device answers, but its answers carry another transaction id: if the gateway always does so, add ?ids=tolerant to the port"}},
	CauseRefusals: {network: Label{
		"Il dispositivo risponde ma rifiuta ogni domanda: controllare modello e numero (unit) nella configurazione",
		"The device answers but refuses every question: check model and unit id in the configuration"}},
}

// SentenceOf returns the text for people about a condition of a device: that of its cause if it has one, else that of
// the condition. serial means that the device is on a serial port of the box.
func SentenceOf(code, cause string, serial bool) Label {
	s, ok := sentences[cause]
	switch {
	case ok && serial && s.serial.En != "":
		return s.serial
	case ok && !(serial && cause == CauseSilence):
		return s.network
	}
	c, _ := ConditionOf(code)
	return c.Text
}
