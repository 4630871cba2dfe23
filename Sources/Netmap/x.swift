public import NetmapCore
