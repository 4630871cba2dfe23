// An application imports Netmap and nothing else; slots, names, errors and counters live below.
@_exported public import NetmapCore
