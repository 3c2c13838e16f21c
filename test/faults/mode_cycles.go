package main

func (o *options) cyclesMode() error { return nil }
