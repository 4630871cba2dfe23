// swift-tools-version: 6.3
import PackageDescription

// No unsafe flags in targets that products for other packages reach.
let settings: [SwiftSetting] = [
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "swift-netmap",
  products: [
    .library(name: "Netmap", targets: ["Netmap"]),
    .library(name: "NetmapTesting", targets: ["NetmapTesting"]),
    .executable(name: "netmap", targets: ["netmap"]),
    .executable(name: "netmapd", targets: ["netmapd"]),
    .executable(name: "pkt-gen", targets: ["pkt-gen"]),
    .executable(name: "vale-ctl", targets: ["vale-ctl"]),
    // The two halves of the C library, for tests. `make install` links the first one without SwiftPM.
    .library(name: "netmap-c", type: .dynamic, targets: ["NetmapPreload"]),
    .library(name: "netmap-half", type: .dynamic, targets: ["NetmapC"]),
    // Modules for switches: the tutorial's, and faulty ones for tests.
    .library(name: "port-guard", type: .dynamic, targets: ["port-guard"]),
    .library(name: "fault-module", type: .dynamic, targets: ["fault-module"]),
    .library(name: "storm-module", type: .dynamic, targets: ["storm-module"]),
    // For the fuzz targets in Tests/Fuzz, a package of its own. No API.
    .library(
      name: "NetmapInternals",
      targets: [
        "NetmapCore", "NetmapLinux", "NetmapLinuxSetup", "NetmapRequests", "NetmapClient",
        "NetmapDaemon", "PktGenCore",
      ]),
  ],
  traits: [
    .trait(
      name: "Interfaces",
      description: "Engines of a process can open network interfaces. Needs libbpf."),
    .default(enabledTraits: ["Interfaces"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.1.3"),
  ],
  targets: [
    // The ABI: this package's net/netmap.h and related headers, also installed for C programs.
    .target(name: "CNetmap"),
    // Linux calls that Swift's Glibc module does not export. Header-only.
    .target(name: "CLinux"),
    // Shared memory and netmap's rules, without network interfaces.
    .target(name: "NetmapCore", dependencies: ["CNetmap", "CLinux"], swiftSettings: settings),
    // Ring drivers of the backends for network interfaces: plain system calls, no library.
    .target(name: "NetmapLinux", dependencies: ["NetmapCore", "CLinux"], swiftSettings: settings),
    // Control side of the backends: opening interfaces, BPF programs and links, backend selection.
    .target(
      name: "NetmapLinuxSetup", dependencies: ["NetmapLinux", "NetmapCore", "CLinux", "CBPF"],
      swiftSettings: settings, plugins: ["BPFObjects"]),
    // libbpf, for NetmapLinuxSetup, NetworkTestbed, and tests that inspect loaded programs.
    .systemLibrary(name: "CBPF", providers: [.apt(["libbpf-dev"])]),
    // Compiles bpf/ and generates Swift source from the objects.
    .plugin(name: "BPFObjects", capability: .buildTool(), dependencies: ["bpf-embed"]),
    .executableTarget(
      name: "bpf-embed", path: "Sources/Tools/bpf-embed", swiftSettings: settings),
    // The client of the daemon: plain system calls, no library.
    .target(
      name: "NetmapClient", dependencies: ["NetmapLinux", "NetmapCore", "CLinux"],
      swiftSettings: settings),
    // The ioctl interface as bytes: from a program's memory to typed requests, and back. No engine.
    .target(
      name: "NetmapRequests", dependencies: ["CNetmap", "CLinux"], swiftSettings: settings),
    // The C library: functions of libc and libnetmap.h in C, which load the Swift half at the first use of netmap. No
    // target may depend on either half, because everything that does is linked with their flags.
    .target(name: "CNetmapHalves"),
    .target(
      name: "NetmapPreload", dependencies: ["CNetmap", "CNetmapHalves"],
      exclude: ["libnetmap.map"],
      cSettings: [.unsafeFlags(["-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"])],
      linkerSettings: [
        .unsafeFlags([
          "-nostartfiles", "-Xclang-linker", "-nostartfiles", "-static-stdlib",
          "-no-toolchain-stdlib-rpath", "-Xlinker", "-soname", "-Xlinker", "libnetmap.so.1",
          "-Xlinker", "-z", "-Xlinker", "lazy", "-Xlinker", "-z", "-Xlinker", "norelro", "-Xlinker",
          "-z", "-Xlinker", "nodelete", "-Xlinker", "-Bsymbolic-functions", "-Xlinker",
          "--version-script=\(Context.packageDirectory)/Sources/NetmapPreload/libnetmap.map",
        ])
      ]),
    .target(
      name: "NetmapC",
      dependencies: ["NetmapRequests", "NetmapClient", "NetmapCore", "CLinux", "CNetmapHalves"],
      exclude: ["half.map"], swiftSettings: settings,
      linkerSettings: [
        .unsafeFlags([
          "-static-stdlib", "-no-toolchain-stdlib-rpath", "-Xlinker", "-z", "-Xlinker", "nodelete",
          "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/NetmapC/half.map",
        ])
      ]),
    // The daemon: an engine for all processes of a host or of a user.
    .target(
      name: "NetmapDaemon",
      dependencies: [
        "NetmapClient", "NetmapLinuxSetup", "NetmapCore", "CLinux",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "netmapd",
      dependencies: [
        "NetmapDaemon", "NetmapClient", "NetmapLinuxSetup", "NetmapCore", "CLinux",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/Tools/netmapd", swiftSettings: settings),
    // The library that applications import.
    .target(
      name: "Netmap",
      dependencies: [
        "NetmapCore", "NetmapClient", "CLinux",
        .target(name: "NetmapLinuxSetup", condition: .when(traits: ["Interfaces"])),
      ],
      swiftSettings: settings),
    // For tests of applications: an engine with interfaces that exist in the process only.
    .target(
      name: "NetmapTesting", dependencies: ["Netmap", "NetmapCore"], swiftSettings: settings),
    // The netmap command.
    .executableTarget(
      name: "netmap",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetmapLinuxSetup", "NetworkTestbed", "ToolSupport",
        "CLinux",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
      ],
      path: "Sources/Tools/netmap", swiftSettings: settings),
    // Namespaces, veth pairs and traffic generated in the kernel, for measurements and tests.
    .target(
      name: "NetworkTestbed", dependencies: ["NetmapLinuxSetup", "NetmapCore", "CLinux", "CBPF"],
      path: "Sources/Tools/NetworkTestbed", swiftSettings: settings, plugins: ["BPFObjects"]),
    // Shared code of the tools with netmap's traditional command lines.
    .target(
      name: "ToolSupport", dependencies: ["Netmap", "NetmapCore", "CLinux"],
      path: "Sources/Tools/ToolSupport",
      swiftSettings: settings),
    // The packet generator, without its main function.
    .target(
      name: "PktGenCore", dependencies: ["Netmap", "NetmapCore", "ToolSupport", "CLinux"],
      path: "Sources/Tools/PktGenCore", swiftSettings: settings),
    .executableTarget(
      name: "pkt-gen", dependencies: ["PktGenCore", "ToolSupport"], path: "Sources/Tools/pkt-gen",
      swiftSettings: settings),

    // The tool that manages switches.
    .executableTarget(
      name: "vale-ctl", dependencies: ["Netmap", "NetmapCore", "ToolSupport"],
      path: "Sources/Tools/vale-ctl", swiftSettings: settings),

    .executableTarget(
      name: "hello", dependencies: ["Netmap"], path: "Examples/hello", swiftSettings: settings),
    .executableTarget(
      name: "sink", dependencies: ["Netmap"], path: "Examples/sink", swiftSettings: settings),
    .executableTarget(
      name: "tasks", dependencies: ["Netmap"], path: "Examples/tasks", swiftSettings: settings),
    .executableTarget(
      name: "forward", dependencies: ["Netmap"], path: "Examples/forward", swiftSettings: settings),
    .executableTarget(
      name: "firewall", dependencies: ["Netmap"], path: "Examples/firewall",
      swiftSettings: settings),
    .executableTarget(
      name: "swap", dependencies: ["Netmap"], path: "Examples/swap", swiftSettings: settings),
    .executableTarget(
      name: "responder", dependencies: ["Netmap"], path: "Examples/responder",
      swiftSettings: settings),
    .target(
      name: "port-guard", dependencies: ["Netmap"], path: "Examples/port-guard",
      swiftSettings: settings),
    .target(
      name: "fault-module", dependencies: ["Netmap", "NetmapClient", "NetmapCore"],
      path: "Tests/Support/fault-module",
      swiftSettings: settings),

    .testTarget(name: "CNetmapTests", dependencies: ["CNetmap"], swiftSettings: settings),
    .testTarget(
      name: "NetmapCoreTests",
      dependencies: ["NetmapCore", "CNetmap", "CLinux", "NetmapTestSupport", "pipe-peer"],
      swiftSettings: settings),
    .testTarget(
      name: "NetmapRequestsTests",
      dependencies: ["NetmapRequests", "CNetmap", "CLinux", "NetmapTestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "NetmapTests",
      dependencies: [
        "Netmap", "NetmapTesting", "NetmapCore", "NetmapTestSupport", "hello", "sink", "forward",
        "swap",
        "responder", "tasks", "host-peer",
      ],
      swiftSettings: settings),
    // Processes that share ports through a daemon.
    .testTarget(
      name: "DaemonTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapDaemon", "NetmapCore", "NetmapTestSupport", "CLinux",
        "netmapd",
        "host-peer", "vale-ctl", "pkt-gen", "responder", "forward", "netmap", "port-driver",
      ],
      path: "Tests/Daemon", swiftSettings: settings),
    // Processes that die, stop, send false data and run out of resources.
    .testTarget(
      name: "FaultTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetmapTestSupport", "CLinux", "netmap", "netmapd",
        "host-peer",
      ],
      path: "Tests/Faults", swiftSettings: settings),
    // C programs for netmap, with the C library. The library's products must not be dependencies: see NetmapPreload.
    .testTarget(
      name: "ConformanceTests",
      dependencies: [
        "NetmapTestSupport", "Netmap", "NetmapClient", "NetmapCore", "netmap", "netmapd",
      ],
      path: "Tests/Conformance", exclude: ["Bystanders", "Clients"], swiftSettings: settings),
    // Attacks by hostile processes, which must not succeed.
    .testTarget(
      name: "HostileTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetmapTestSupport", "CLinux", "netmap", "netmapd",
        "vale-ctl", "host-peer", "hostile-peer", "message-storm",
      ],
      path: "Tests/Hostile", swiftSettings: settings),
    // Processes that are killed or stopped at chosen points of their operations.
    .testTarget(
      name: "KillTableTests",
      dependencies: ["NetmapTestSupport", "kill-table", "kill-client", "netmapd"],
      path: "Tests/KillTable", exclude: ["mutants"], swiftSettings: settings),
    // Words that change right after a load.
    .testTarget(
      name: "RaceTableTests", dependencies: ["NetmapTestSupport", "race-table", "netmapd"],
      path: "Tests/RaceTable", swiftSettings: settings),
    // Long runs of many processes, shortened.
    .testTarget(
      name: "SoakTests",
      dependencies: ["NetmapTestSupport", "soak", "soak-client", "netmap", "netmapd"],
      path: "Tests/Soak", swiftSettings: settings),
    // Attacks, one per subcommand, on the wire protocol and the shared memory.
    .executableTarget(
      name: "hostile-peer",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "CNetmap", "CLinux", "StormAttack", "ProcessFiles",
      ],
      path: "Tests/Support/hostile-peer", swiftSettings: settings),
    // Messages and descriptors in any order, by every kind of peer, for message-storm and storm-module.
    .target(
      name: "StormAttack",
      dependencies: ["NetmapClient", "NetmapCore", "CLinux", "CStorm", "ProcessFiles"],
      path: "Tests/Support/StormAttack"),
    // System calls of attackers. Header-only.
    .target(name: "CStorm", path: "Tests/Support/CStorm"),
    // Attacks netmapd by millions of messages, and watches bystanders meanwhile.
    .executableTarget(
      name: "message-storm",
      dependencies: [
        "StormAttack", "Netmap", "NetmapClient", "NetmapDaemon", "NetmapCore", "NetworkTestbed",
        "CLinux", "CStorm", "ProcessFiles",
      ],
      path: "Tests/Support/message-storm"),
    .target(
      name: "storm-module", dependencies: ["StormAttack", "Netmap", "NetmapCore"],
      path: "Tests/Support/storm-module", swiftSettings: settings),
    // Kills and stops a process at each instruction of each operation.
    .executableTarget(
      name: "kill-table",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "CTrace", "ProcessFiles", "TableSupport",
      ],
      path: "Tests/Support/kill-table", swiftSettings: settings),
    // Changes each word that a peer can write right after each load of a process.
    .executableTarget(
      name: "race-table",
      dependencies: [
        "Netmap", "NetmapCore", "CNetmap", "CTrace", "CRace", "ProcessFiles", "TableSupport",
      ],
      path: "Tests/Support/race-table", swiftSettings: settings),
    // What proc(5) says about processes.
    .target(
      name: "ProcessFiles", path: "Tests/Support/ProcessFiles", swiftSettings: settings),
    // Changes a word right after an access of the calling thread.
    .target(name: "CRace", path: "Tests/Support/CRace"),
    // What both tables need: a daemon, processes to trace, and numbered packets.
    .target(
      name: "TableSupport",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "CNetmap", "CLinux", "CTrace", "ProcessFiles",
      ],
      path: "Tests/Support/TableSupport", swiftSettings: settings),
    // Long runs of many processes, with a ledger of their packets.
    .executableTarget(
      name: "soak",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetworkTestbed", "CLinux", "CTrace",
        "ProcessFiles",
      ],
      path: "Tests/Support/soak", swiftSettings: settings),
    // A C program for netmap, which the soaks run with the C library.
    .executableTarget(
      name: "soak-client", dependencies: ["CNetmap", "CPortClient"],
      path: "Tests/Support/soak-client"),
    // A C program for netmap, which the kill table runs with the C library.
    .executableTarget(
      name: "kill-client", dependencies: ["CNetmap", "CPortClient"],
      path: "Tests/Support/kill-client"),
    // How both of them open a port.
    .target(name: "CPortClient", dependencies: ["CNetmap"], path: "Tests/Support/CPortClient"),
    // ptrace(2) for Swift, to kill processes at a chosen instruction. Header-only.
    .target(name: "CTrace", path: "Tests/Support/CTrace"),
    // Opens and uses ports in a process that tests can kill.
    .executableTarget(
      name: "host-peer", dependencies: ["Netmap", "NetmapClient", "NetmapCore", "CLinux"],
      path: "Tests/Support/host-peer",
      swiftSettings: settings),
    // Backends, on interfaces in network namespaces that the tests make.
    .testTarget(
      name: "NetworkTests",
      dependencies: [
        "Netmap", "NetmapCore", "NetmapLinux", "NetmapLinuxSetup", "NetmapTestSupport",
        "NetworkTestbed", "CLinux", "netmap", "netmapd", "pkt-gen", "port-driver", "port-holder",
        "kill-at-call", "firewall",
      ],
      path: "Tests/Network", swiftSettings: settings),
    // Holds, sends, receives and forwards in a separate process, for the tests of interfaces.
    .executableTarget(
      name: "port-driver", dependencies: ["Netmap"], path: "Tests/Support/port-driver",
      swiftSettings: settings),
    // Kills processes before a chosen system call.
    .executableTarget(
      name: "kill-at-call", dependencies: ["CTrace", "ProcessFiles"],
      path: "Tests/Support/kill-at-call",
      swiftSettings: settings),
    // Namespaces, veth pairs and helper programs, for tests.
    .target(
      name: "NetmapTestSupport",
      dependencies: [
        "Netmap", "NetmapClient", "NetworkTestbed", "NetmapCore", "CLinux", "CBPF", "ProcessFiles",
      ],
      path: "Tests/Support/NetmapTestSupport", swiftSettings: settings),
    // Holds a port open until it is killed.
    .executableTarget(
      name: "port-holder", dependencies: ["Netmap", "NetmapLinuxSetup"],
      path: "Tests/Support/port-holder", swiftSettings: settings),
    .testTarget(
      name: "ToolTests",
      dependencies: [
        "netmap", "netmapd", "pkt-gen", "vale-ctl", "NetmapCore", "NetmapTestSupport",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "PktGenTests",
      dependencies: [
        "PktGenCore", "ToolSupport", "Netmap", "NetmapTestSupport", "pkt-gen",
      ],
      swiftSettings: settings),
    // Drives one end of a pipe in a separate process, for the tests of shared memory.
    .executableTarget(
      name: "pipe-peer", dependencies: ["NetmapCore", "CLinux"], path: "Tests/Support/pipe-peer",
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
