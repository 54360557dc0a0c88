"""What runs inside the jail: standard library only, loaded by path. The prefix of the
names keeps a program's own `import codec` apart."""
