package main

import (
	"regexp"
	"strings"
)

// cause is what a machine says when something fails, and how an installer is told.
type cause struct {
	said *regexp.Regexp
	it   string // $1 is what the first group found
}

// Parts of what is said: an address, and the path of a file.
const (
	sayHost = `([A-Za-z0-9.\-]+|\[[0-9a-f:]+\]):\d+`
	sayFile = `(?:read|open|stat) (/\S+?)`
)

// causes lists the sentences, the more precise ones first. They are those of this program, of Go's library and of the kernel;
// in English they are shown as they are. The rest of a text in which one is found is for whoever repairs it: status --json and
// the log have it.
func causes() []cause {
	var out []cause
	for _, c := range [][2]string{
		// Login and certificates.
		{`refused by the broker: (?:user name or password is wrong|this user may not connect)`,
			"il broker rifiuta l'accesso: nome utente o password sbagliati, o utente non autorizzato (username, password_file)"},
		{`refused by the broker: the client id`, "il broker non accetta il nome di questo nodo (client id)"},
		{`refused by the broker`, "il broker rifiuta: questo utente non ha il permesso"},
		{`certificate signed by unknown authority|certificate is not trusted|self-signed certificate`,
			"il certificato del broker è di un'autorità sconosciuta: ca_file manca o non è quello giusto"},
		{`the certificate in cert_file ended on ([^)]*)`, "il certificato di questo nodo (cert_file) è scaduto il $1"},
		{`certificate has expired or is not yet valid: current time \S+ is after (\S+)`, "il certificato del broker è scaduto il $1, o l'orologio di questo apparecchio è avanti"},
		{`certificate has expired or is not yet valid: current time \S+ is before (\S+)`, "il certificato del broker vale dal $1: l'orologio di questo apparecchio è indietro?"},
		{`certificate has expired or is not yet valid`, "il certificato del broker è scaduto o non vale ancora, oppure l'orologio è sbagliato"},
		{`certificate is valid for (.+), not (\S+)`, "il certificato del broker è per $1, non per $2: indirizzo sbagliato in mqtt.url?"},
		{`certificate is not valid for any names[^:]*, but wanted to match (\S+)`, "il certificato del broker non è per $1: indirizzo sbagliato in mqtt.url?"},
		{`cannot validate certificate for (\S+) because`, "il certificato del broker non è per l'indirizzo $1: scrivere in mqtt.url il nome che ha il certificato"},
		{`relies on legacy Common Name`, "il certificato del broker non ha il nome dove serve (SAN): va rifatto dal centro"},
		{`remote error: tls: (?:certificate required|bad certificate)`, "il broker chiede un certificato, o non accetta quello di questo nodo (cert_file, key_file)"},
		{`remote error: tls: (?:unknown certificate authority|unknown certificate|certificate unknown)`, "il broker non conosce chi ha firmato il certificato di questo nodo (cert_file)"},
		{`remote error: tls: expired certificate`, "per il broker il certificato di questo nodo (cert_file) è scaduto"},
		{`remote error: tls: revoked certificate`, "per il broker il certificato di questo nodo (cert_file) è revocato"},
		{`protocol version not supported|remote error: tls: (?:handshake failure|no application protocol)`, "il broker e questo nodo non si accordano su TLS"},
		{`perhaps this port is without TLS`, "il broker non risponde con TLS: forse è la porta senza TLS (di solito mqtt:// e 1883, mqtts:// e 8883)"},
		{`perhaps this port is for TLS`, "il broker chiude prima dell'accesso: forse è la porta con TLS (scrivere mqtts://, di solito 8883)"},
		{`did not acknowledge within (\S+ s)`, "il broker non ha confermato entro $1"},
		{`the own status did not come back|did not send it back`, "il broker non rimanda i messaggi di questo nodo: questo utente può scrivere e leggere i suoi topic?"},
		// Directories of the agent, as package owner explains them.
		{`the agent runs as root and (\S+) belongs to (\S+), .* (chown .+)$`, "l'agente gira come root e $1 appartiene a $2; fermarlo, poi come root: $3"},
		{`(\S+) belongs to (\S+) and the agent runs as (\S+)\. As root: (.+)$`, "$1 appartiene a $2 e l'agente gira come $3; come root: $4"},
		{`(\S+) belongs to (\S+) and does not let (\S+) in\. As root: (.+)$`, "$1 appartiene a $2 e non lascia entrare $3; come root: $4"},
		{`(\S+) belongs to (\S+), whose rights to it are not enough\. As root: (.+)$`, "$1 appartiene a $2, che non ha i permessi che servono; come root: $3"},
		{`(\S+) is not there and cannot be made in (\S+), which belongs to (\S+)\. .* or as root: (.+)$`,
			"$1 non c'è e non si può creare in $2, che appartiene a $3; montare il disco che manca, o come root: $4"},
		{`(\S+): read-only file system`, "$1: il disco è in sola lettura; cercare la causa con dmesg, poi rimontarlo in scrittura o cambiare la scheda SD"},
		{`(?:no space left on device|disk quota exceeded)\. Free space or inodes: (.+)\.$`, "il disco è pieno; liberare spazio: $1"},
		{`The SD card or disk fails or has lost contact`, "la scheda SD o il disco ha un guasto o un falso contatto; guardare dmesg e cambiarlo"},
		// Files.
		{sayFile + `: no such file or directory`, "manca il file $1"},
		{sayFile + `: permission denied`, "non c'è il permesso di leggere $1"},
		{sayFile + `: is a directory`, "$1 è una cartella, non un file"},
		{sayFile + `: the file is empty`, "il file $1 è vuoto"},
		{sayFile + `: the password is not UTF-8`, "il file $1 non è in UTF-8: salvarlo come UTF-8"},
		{sayFile + `: a password is one line`, "il file $1 deve contenere una sola riga con la password"},
		{sayFile + `: no certificate in PEM form`, "nel file $1 non c'è nessun certificato PEM"},
		{sayFile + `: \d+ certificates begin`, "il file $1 non è completo: scriverlo di nuovo"},
		{`read (\S+) with (\S+): `, "il certificato $1 e la chiave $2 non vanno insieme"},
		// Serial ports.
		{`busy: another program has it open`, "la porta è occupata: la tiene aperta un altro programma"},
		{`no such port`, "la porta non c'è: l'adattatore è inserito?"},
		{`the port exists but no device is behind it`, "la porta c'è, ma senza adattatore dietro"},
		{`permission denied \(add the user to group (\S+)\)`, "non c'è il permesso per la porta: usermod -aG $1 UTENTE, poi accedere di nuovo"},
		{`not a serial port`, "non è una porta seriale"},
		{`the adapter was unplugged or switched off`, "l'adattatore è stato staccato o spento"},
		// Networks.
		{`lookup (\S+?)(?: on \S+)?: (?:no such host|.*misbehaving|.*name resolution)`, "il nome $1 non si trova: nome sbagliato, o DNS non raggiungibile"},
		{`the name of (\S+) cannot be resolved|lookup (\S+?)(?: on \S+)?: `, "il nome $1$2 non si trova: nome sbagliato, o DNS non raggiungibile"},
		{sayHost + ` is there but nothing listens`, "$1 c'è, ma su quella porta nessuno ascolta: Modbus TCP è attivato?"},
		{sayHost + `: connect: connection refused`, "$1 c'è, ma su quella porta nessuno ascolta: porta giusta? programma avviato?"},
		{`no way to ` + sayHost + ` from this network`, "da questa rete $1 non si raggiunge"},
		{sayHost + `: connect: (?:no route to host|network is unreachable)`, "da questa rete $1 non si raggiunge: cavo, router, SIM?"},
		{sayHost + `(?: did not answer within|.*i/o timeout|.*connection timed out)`, "$1 non risponde: indirizzo giusto? acceso? firewall?"},
		{`i/o timeout|context deadline exceeded|the other side does not acknowledge`, "nessuna risposta in tempo"},
		{`connection reset by peer|broke the connection off|closed the connection|network Error : EOF|: EOF$|broken pipe`, "l'altro lato ha chiuso la connessione"},
		{`pingresp not received`, "il broker non risponde più"},
		{`connection lost`, "connessione persa"},
	} {
		out = append(out, cause{regexp.MustCompile(c[0]), c[1]})
	}
	return out
}

// causeText is what a machine said, in Italian as far as it is known there.
func causeText(said string, l *langValue) string {
	if *l != "it" || said == "" {
		return said
	}
	return italianCause(said)
}

// italianCause translates each line that causes knows; the others stay as they are.
func italianCause(said string) string {
	known := causes()
	lines := strings.Split(said, "\n")
	for i, text := range lines {
		for _, c := range known {
			if m := c.said.FindStringSubmatchIndex(text); m != nil {
				lines[i] = string(c.said.ExpandString(nil, c.it, text, m))
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}
