"""What every notebook stands on: parameters, run folders, provenance, files. Imports nothing above it."""
