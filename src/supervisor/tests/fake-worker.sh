#!/bin/sh
# A worker, or a companion, that does what the text in FAKE says. Its socket is file descriptor 0.
eval "$FAKE"
