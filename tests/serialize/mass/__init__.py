"""Code that nobody here wrote: the public functions and classes of installed packages.

Owns a scratch project that holds copies of packages under other names, so that they count as the
project's own code; processes that serialise what is in them; and programs that are changed a
little. Invariant: nothing of what is copied is kept, and what is compared is looked at here, by
means that know nothing of the serialiser.
"""
