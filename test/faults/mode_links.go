package main

func (o *options) linksMode() error { return nil }
