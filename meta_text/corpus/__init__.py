"""Labelled texts: read, checked, divided into classes that train and classes that test, drawn as episodes."""
