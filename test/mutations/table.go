package main

// mutations are the defects.
func mutations() []mutation { return nil }
