// An application imports only Netmap. NetmapCore defines slots, names, errors and counters.
@_exported public import NetmapCore
