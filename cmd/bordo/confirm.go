package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"bordo/agent"
)

func confirmVerb(l *langValue) verb {
	return verb{
		name:  "confirm",
		brief: phrase{"accetta che un dispositivo è stato sostituito", "accepts that a device was exchanged for another one"}.in(l),
		takes: phrase{"DISPOSITIVO", "DEVICE"}.in(l),
		most:  1,
		text: phrase{
			`Quando al posto di un dispositivo risponde un'altra matricola, le sue misure continuano come incerte e l'energia non
viene conteggiata: potrebbe essere il dispositivo sbagliato. Questo comando dice che è quello giusto. I quarti d'ora
continuano dalla prossima lettura, in un segmento nuovo; ciò che era stato contato prima resta com'è. Serve l'agente
in funzione. Codice di uscita 1 quando non c'è nulla da confermare.`,
			`When another serial number answers under a device's name, its readings go on as uncertain and no energy is booked: it
may be the wrong device. This says that it is the right one. Its quarter hours go on from its next reading, in a new
segment, and what it counted before stays as it was booked. Needs the running agent. Exit code 1 when there is nothing
to confirm.`}.in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			langFlag(set, l)
			return func(ctx context.Context, c console, operands []string) error {
				if len(operands) == 0 {
					return misused("confirm", phrase{"confirm: quale dispositivo? bordo status mostra che cosa è stato sostituito", "confirm: which device? bordo status shows what was exchanged"})
				}
				desk, err := newDesk(ctx, c, *path, true)
				if err != nil {
					return err
				}
				return confirm(ctx, c, desk, operands[0], l)
			}
		},
	}
}

func confirm(ctx context.Context, c console, d *desk, device string, lang *langValue) error {
	if _, _, err := d.device(device); err != nil {
		return err
	}
	if d.running == nil {
		return d.notRunning()
	}
	var e agent.Exchange
	err := d.ask(ctx, "confirm", deviceQuestion{device}, func(part json.RawMessage) error { return json.Unmarshal(part, &e) })
	if err != nil {
		return err
	}
	switch {
	case e.After == "" && e.Before == "":
		return phrase{"%s: niente da confermare: il dispositivo non ha dato una matricola", "%s: nothing to confirm: the device has given no serial number"}.fault(device)
	case e.After == "":
		return phrase{"%s: niente da confermare: risponde la matricola conosciuta, %s", "%s: nothing to confirm: the serial number that is known answers, %s"}.fault(device, e.Before)
	}
	fmt.Fprintln(c.out, phrase{
		"%s: confermata la matricola %s al posto di %s; l'energia viene conteggiata dalla prossima lettura",
		"%s: confirmed serial number %s in place of %s; energy is booked from the next reading on",
	}.in(lang, device, e.After, e.Before))
	if e.Unkept != "" {
		return phrase{"la conferma non è stata scritta su disco e vale fino al riavvio: %s", "the confirmation could not be written to disk and lasts until the next restart: %s"}.fault(e.Unkept)
	}
	return nil
}
