package main

const (
	batch    = "pkg/outbox/batch.go"
	resume   = "pkg/outbox/resume.go"
	spooled  = "pkg/outbox/spooled.go"
	spooler  = "pkg/outbox/spooler.go"
	settle   = "pkg/outbox/settle.go"
	claim    = "pkg/outbox/claim.go"
	admit    = "pkg/outbox/admission.go"
	renumber = "pkg/outbox/renumber.go"
	writer   = "pkg/outbox/streamwriter.go"
	channel  = "pkg/outbox/channelwriter.go"
	publish  = "pkg/outbox/publisher.go"
	journal  = "pkg/outbox/journal.go"
	ledger   = "pkg/outbox/ledger.go"
	consumer = "pkg/stream/consumer.go"
)

func one(name, file, before, after string) mutation {
	return mutation{name: name, changes: []change{{file, before, after}}}
}

// tested is a defect that an ordinary test finds.
func tested(name, test, file, before, after string) mutation {
	m := one(name, file, before, after)
	m.test = test
	return m
}

// mutations are the defects: the kinds that the frame log once had, and others that
// its promises exclude.
func mutations() []mutation {
	return []mutation{
		one("answers starve while Redis refuses the stream", settle,
			"		taken -= l.held[inMemory][unsent]\n", ""),
		one("what the spool dropped at opening is forgotten", spooled,
			"		l.ledger.addLoss(first, last, loss.Reason)\n		l.countLoss", "		l.countLoss"),
		one("a start declares only gaps between what is on disk", resume,
			"		if !s.last.Less(next) {\n			filled = l.appendLost(filled, next, s.last)\n		}\n", ""),
		one("the channel gets the stream's wire", channel,
			"		payload, err := w.cfg.Wire.of(ctx, e.msg)\n", "		payload, err := e.msg.Wire(), error(nil)\n"),
		one("a file that was removed is believed in", batch,
			"		e.file = frame.ID{}\n		l.spoolable.Call()\n	}\n	where := inMemory\n	if e.place == onDisk || e.place == nowhere {",
			"		l.spoolable.Call()\n	}\n	where := inMemory\n	if e.place == inMemoryAndDisk {\n		where = inMemoryAndDisk\n	}\n	if e.place == onDisk || e.place == nowhere {"),
		one("an answer enters the stream before it is published", batch, "len(items) == n || e.progress != unsent ||", "len(items) == n || e.progress == inFlight ||"),
		one("answers without a log are declared on the channel", spooled,
			"	if l.cfg.Stream == 0 {\n		l.insertLosses()\n	}\n",
			"	if l.cfg.Stream == 0 {\n		l.fill(frame.ID{})\n	}\n"),
		one("a passing error of the disk is a loss", batch, "	if !errors.Is(err, spool.ErrGone) && !errors.Is(err, spool.ErrCorrupt) {\n", "	if false {\n"),
		one("files are removed before delivery", batch, "	items = append(items, e)\n", "	items = append(items, e)\n		if !e.file.IsZero() && l.removable.Less(e.file) {\n			l.removable = e.file\n			l.spoolable.Call()\n		}\n"),
		one("the journal is not synced", journal, "	return j.file.Sync()\n}", "	return nil\n}"),
		one("the journal is written with every frame", journal, "	return since >= journalInterval || since < 0\n", "	return since >= 0 || since < 0\n"),
		one("trimmed frames are declared", ledger, "			first = max(first, e.sent+1)\n		case", "		case"),
		one("resume forgets lost runs", resume, "	l.fill(last)\n	l.settle()", "	l.settle()"),
		one("what Redis lost is not sent again", resume, "	l.set(e, e.place, unsent)\n	e.refused, e.resent = false, true\n", "	l.set(e, e.place, unsent)\n	l.set(e, nowhere, unsent)\n	e.first = e.id.Next()\n"),
		one("the started entry is always clean", resume, "clean: l.ledger.complete(last, l.epoch) && (was.clean || !was.made)", "clean: true || was.made"),
		one("renumbered frames are not remembered", renumber, "		l.ledger.moved(move{file: from, minus: done, epoch: to})\n", ""),
		one("renumbered frames are not journaled", admit, "	w.frames.saveEpoch()\n	return nil\n", "	return nil\n"),
		one("overtaken frames are given up", renumber, "&& e.id.Seq > sent {", "&& e.id.Seq > sent+math.MaxUint32 {"),
		one("what Redis lost of an overtaken epoch is not declared", renumber, "	if lost := min(sent, given); had < lost {\n", "	if lost := min(sent, given); false && had < lost {\n"),
		tested("a renumbered frame goes to disk under its new name", "TestALostFrameGoesWhereItWasOnDisk", spooled, "id: cmp.Or(e.key, e.id)", "id: cmp.Or(e.id, e.key)"),
		tested("losses beside files are not declared on the channel", "TestLossesBesideAFileAreDeclared", spooled, "			if there := l.items[i]; s.first.Less(there.first) {\n", "			if there := l.items[i]; false && s.first.Less(there.first) {\n"),
		tested("answers behind one that is refused hold up the stream", "TestARefusedChannelDoesNotHoldUpTheStream", publish, "			for _, item := range l.queue() {\n", "			for _, item := range items[i:] {\n"),
		tested("an epoch is used before it is journaled", "TestEpochsRiseAndNeverRepeat", claim, "		err := cmp.Or(c.save(c.present()), c.journal.save(l, c.now(), true))\n", "		err, _ := error(nil), l\n"),
		tested("the started entry is lost with Redis's data", "TestWhatIsNotInMemoryAnyMoreIsDeclared", resume, "	l.insertStarted(last)\n", "	if !l.started.made {\n		l.insertStarted(last)\n	}\n"),
		one("what the spool drops while it writes is not declared", spooler, "		s.frames.spoolDrops(losses)\n		if errors.Is(err, spool.ErrTooLarge)", "		if errors.Is(err, spool.ErrTooLarge)"),
		one("a lost reply counts as a failure for good", writer, "	w.aligned = false\n	switch {", "	switch {"),
		one("a batch is committed whatever Redis says", writer, "		if w.singly = len(b.entries) > 1; w.singly &&", "		b.commit(len(b.entries))\n		if w.singly = len(b.entries) > 1; w.singly &&"),
		one("a stream that vanished is created anew without its past", writer, "	w.create = !end.Exists\n", "	w.create = true\n	if !end.Exists {\n		last = w.newest()\n	}\n"),
		one("a foreign writer's stream is written on", writer, "	if newest.Less(last) {\n", "	if false {\n"),
		one("published frames count as delivered without a subscriber", channel, "		case r.err == nil && r.receivers > 0:\n", "		case r.err == nil && r.receivers >= 0:\n"),
		one("frames without a subscriber leave the log", channel, "			w.setReceivers(receiversNone)\n			return noReceiversWait, nil\n", "			w.setReceivers(receiversNone)\n			b.commit(len(b.entries))\n			return noReceiversWait, nil\n"),
		one("an answer of a lost session is not published again", publish, "			l.putBack(items[i:])\n			return 0, fmt.Errorf(\"publish: %w\", r.err)\n", "			for range items[i:] {\n				l.confirmed(item, 0, nil)\n			}\n			return 0, fmt.Errorf(\"publish: %w\", r.err)\n"),
		one("the bound of the stream counts entries, not bytes", "pkg/outbox/streambound.go", "	for _, r := range b.runs {\n		if total <= b.max {", "	for _, r := range b.runs {\n		if len(b.runs) < 20 {"),
		one("memory is not bounded", settle, "		i -= l.loseAt(i, reason)\n	}\n}", "		_ = reason\n	}\n}"),
		one("frames stay in memory while Redis refuses", spooled, "	needed := l.ending || !l.memoryOnly && (!l.writable || ", "	needed := l.ending || !l.memoryOnly && ("),
		one("the spool is not synced", spooler, "		_, err := s.store.Sync() // what", "		var err error // what"),
		one("the consumer skips an entry", consumer, "		c.held, c.fresh, c.trimmed, c.failing = c.held[1:], false, false, false\n", "		c.held, c.fresh, c.trimmed, c.failing = c.held[1:], false, false, false\n		if len(c.held) > 3 {\n			c.held = c.held[1:]\n		}\n"),
		one("the consumer passes what could not be handled", consumer, "		return fmt.Errorf(\"%w: %w\", ErrUnhandled, err)\n", "		_ = fmt.Errorf(\"%w: %w\", ErrUnhandled, err)\n"),
	}
}
