package main

func (o *options) soakMode() error { return nil }
