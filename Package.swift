// swift-tools-version: 6.3
import PackageDescription

// No unsafe flags anywhere: a package that has them cannot be depended on by version.
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
    .executable(name: "netmap", targets: ["netmap"]),
    .executable(name: "netmapd", targets: ["netmapd"]),
    .executable(name: "pkt-gen", targets: ["pkt-gen"]),
    .executable(name: "vale-ctl", targets: ["vale-ctl"]),
    // Modules of switches: the tutorial's, and one that does what it should not, for tests.
    .library(name: "port-guard", type: .dynamic, targets: ["port-guard"]),
    .library(name: "fault-module", type: .dynamic, targets: ["fault-module"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.1.3"),
  ],
  targets: [
    // The ABI: net/netmap.h and friends, ours, installed for C programs.
    .target(name: "CNetmap"),
    // Linux calls that Swift's Glibc module does not show. Header-only.
    .target(name: "CLinux"),
    // Shared memory and netmap's rules. Knows no network interface.
    .target(name: "NetmapCore", dependencies: ["CNetmap", "CLinux"], swiftSettings: settings),
    // Data halves of the backends for network interfaces: raw system calls, no library.
    .target(name: "NetmapLinux", dependencies: ["NetmapCore", "CLinux"], swiftSettings: settings),
    // Control halves: opening interfaces, BPF programs and links, the choice of a backend.
    .target(
      name: "NetmapLinuxSetup", dependencies: ["NetmapLinux", "NetmapCore", "CLinux", "CBPF"],
      swiftSettings: settings, plugins: ["BPFObjects"]),
    // libbpf, for NetmapLinuxSetup, NetworkStage, and tests that look what is loaded.
    .systemLibrary(name: "CBPF", providers: [.apt(["libbpf-dev"])]),
    // Compiles bpf/ and makes Swift source of it.
    .plugin(name: "BPFObjects", capability: .buildTool(), dependencies: ["bpf-embed"]),
    .executableTarget(
      name: "bpf-embed", path: "Sources/Tools/bpf-embed", swiftSettings: settings),
    // A process as a client of a daemon: raw system calls, no library.
    .target(
      name: "NetmapClient", dependencies: ["NetmapLinux", "NetmapCore", "CLinux"],
      swiftSettings: settings),
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
    // What an application author imports.
    .target(
      name: "Netmap",
      dependencies: ["NetmapCore", "NetmapLinuxSetup", "NetmapClient", "CLinux"],
      swiftSettings: settings),
    // The netmap command.
    .executableTarget(
      name: "netmap",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetworkStage", "ToolSupport", "CLinux",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
      ],
      path: "Sources/Tools/netmap", swiftSettings: settings),
    // Namespaces, veth pairs and traffic made in the kernel: what the bench measures on and tests use.
    .target(
      name: "NetworkStage", dependencies: ["NetmapLinuxSetup", "NetmapCore", "CLinux", "CBPF"],
      path: "Sources/Tools/NetworkStage", swiftSettings: settings, plugins: ["BPFObjects"]),
    // What the tools with netmap's traditional command lines share.
    .target(
      name: "ToolSupport", dependencies: ["Netmap", "CLinux"], path: "Sources/Tools/ToolSupport",
      swiftSettings: settings),
    // The packet generator, without its main function.
    .target(
      name: "PktGenCore", dependencies: ["Netmap", "ToolSupport", "CLinux"],
      path: "Sources/Tools/PktGenCore", swiftSettings: settings),
    .executableTarget(
      name: "pkt-gen", dependencies: ["PktGenCore", "ToolSupport"], path: "Sources/Tools/pkt-gen",
      swiftSettings: settings),

    // Manages switches.
    .executableTarget(
      name: "vale-ctl", dependencies: ["Netmap", "ToolSupport"], path: "Sources/Tools/vale-ctl",
      swiftSettings: settings),

    .executableTarget(
      name: "hello", dependencies: ["Netmap"], path: "Examples/hello", swiftSettings: settings),
    .executableTarget(
      name: "sink", dependencies: ["Netmap"], path: "Examples/sink", swiftSettings: settings),
    .executableTarget(
      name: "forward", dependencies: ["Netmap"], path: "Examples/forward", swiftSettings: settings),
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
      name: "NetmapTests",
      dependencies: [
        "Netmap", "NetmapCore", "NetmapTestSupport", "hello", "sink", "forward", "swap",
        "responder",
        "host-peer",
      ],
      swiftSettings: settings),
    // Processes that share ports through a daemon.
    .testTarget(
      name: "DaemonTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapDaemon", "NetmapCore", "NetmapTestSupport", "CLinux",
        "netmapd",
        "host-peer", "vale-ctl", "pkt-gen", "responder", "netmap",
      ],
      path: "Tests/Daemon", swiftSettings: settings),
    // Processes that die, stop, lie and run out of things.
    .testTarget(
      name: "FaultTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetmapTestSupport", "CLinux", "netmap", "netmapd",
        "host-peer",
      ],
      path: "Tests/Faults", swiftSettings: settings),
    // Processes that mean harm, and what they must not be able to do.
    .testTarget(
      name: "HostileTests",
      dependencies: [
        "Netmap", "NetmapClient", "NetmapCore", "NetmapTestSupport", "CLinux", "netmap", "netmapd",
        "vale-ctl", "host-peer", "hostile-peer",
      ],
      path: "Tests/Hostile", swiftSettings: settings),
    // Attacks, one a subcommand: the wire protocol and the shared memory without the client's care.
    .executableTarget(
      name: "hostile-peer",
      dependencies: ["Netmap", "NetmapClient", "NetmapCore", "CNetmap", "CLinux", "CTrace"],
      path: "Tests/Support/hostile-peer", swiftSettings: settings),
    // ptrace(2) for Swift: processes are killed at a chosen instruction. Header-only.
    .target(name: "CTrace", path: "Tests/Support/CTrace"),
    // One end of a pipe in a process that can be killed.
    .executableTarget(
      name: "host-peer", dependencies: ["Netmap", "NetmapClient", "NetmapCore", "CLinux"],
      path: "Tests/Support/host-peer",
      swiftSettings: settings),
    // Backends on interfaces that the tests make in network namespaces of their own.
    .testTarget(
      name: "NetworkTests",
      dependencies: [
        "Netmap", "NetmapCore", "NetmapLinux", "NetmapLinuxSetup", "NetmapTestSupport", "CLinux",
        "netmap", "pkt-gen", "port-driver", "port-holder",
      ],
      path: "Tests/Network", swiftSettings: settings),
    // Holds, sends, receives and forwards in a process of its own, for the tests of interfaces.
    .executableTarget(
      name: "port-driver", dependencies: ["Netmap"], path: "Tests/Support/port-driver",
      swiftSettings: settings),
    // Namespaces, veth pairs and helper programs, for tests.
    .target(
      name: "NetmapTestSupport",
      dependencies: ["Netmap", "NetmapClient", "NetworkStage", "NetmapCore", "CLinux", "CBPF"],
      path: "Tests/Support/NetmapTestSupport", swiftSettings: settings),
    // Holds a port open until it is killed.
    .executableTarget(
      name: "port-holder", dependencies: ["Netmap", "NetmapLinuxSetup"],
      path: "Tests/Support/port-holder", swiftSettings: settings),
    .testTarget(
      name: "ToolTests", dependencies: ["netmap", "netmapd", "NetmapTestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "PktGenTests",
      dependencies: [
        "PktGenCore", "ToolSupport", "Netmap", "NetmapTestSupport", "pkt-gen",
      ],
      swiftSettings: settings),
    // Drives one end of a pipe from a process of its own, for the tests of shared memory.
    .executableTarget(
      name: "pipe-peer", dependencies: ["NetmapCore", "CLinux"], path: "Tests/Support/pipe-peer",
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
