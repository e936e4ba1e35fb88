package main

import "github.com/rogpeppe/go-internal/testscript"

func startBroker(env *testscript.Env) string { panic("skeleton") }
