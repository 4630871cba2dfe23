// swift-tools-version: 6.3
import PackageDescription

// A separate package, so that dependents of swift-netmap do not fetch or build it.

let settings: [SwiftSetting] = [
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "swift-netmap-benchmarks",
  products: [
    .library(name: "malloc-counter", type: .dynamic, targets: ["malloc-counter"])
  ],
  dependencies: [
    .package(name: "swift-netmap", path: "..")
  ],
  targets: [
    // The pipe loop in C, and the program that compares it with netmap bench's loops in Swift.
    .target(name: "PipeReference"),
    .executableTarget(
      name: "compare-pipes",
      dependencies: ["PipeReference", .product(name: "Netmap", package: "swift-netmap")],
      swiftSettings: settings),
    // Sending, receiving and forwarding in C, for 'netmap bench --program', and the same with DPDK.
    .executableTarget(
      name: "interface-reference", publicHeadersPath: "."),
    .executableTarget(name: "testpmd-peer", swiftSettings: settings),
    // Runs netmap bench and its peers in turns.
    .executableTarget(name: "compare", swiftSettings: settings),
    // Measures everything that has a committed limit.
    .executableTarget(name: "check-limits", swiftSettings: settings),
    // What the C library costs programs that never use netmap.
    .target(name: "CallCosts"),
    .executableTarget(
      name: "preload-costs", dependencies: ["CallCosts"], swiftSettings: settings),
    // Counts allocations when preloaded.
    .target(name: "malloc-counter"),
    // Moves a known number of packets, to count instructions and allocations.
    .executableTarget(
      name: "fixed-work", dependencies: [.product(name: "Netmap", package: "swift-netmap")],
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
