internal import NetmapCore
