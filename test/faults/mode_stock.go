package main

func (o *options) stockMode() error { return nil }
