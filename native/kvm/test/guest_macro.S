// For assembly: `guest name` begins a guest that C++ sees between `name` and `nameEnd`.
        .section .rodata
        .macro guest name
        .globl \name
        .globl \name\()End
\name:
        .code64
        .endm
