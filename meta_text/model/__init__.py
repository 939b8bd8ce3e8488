"""An embedding and a learner as one model, and that model adapted to a set of classes."""
