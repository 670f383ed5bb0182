"""The version of lbnet, in one place."""

VERSION = "0.1.0"
