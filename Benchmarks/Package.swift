// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that those who depend on swift-netmap fetch and build nothing of this.

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
    // The pipe loop in C, and what compares it with ours. Its Swift loops are those of netmap bench.
    .target(name: "PipeReference"),
    .executableTarget(
      name: "compare-pipes",
      dependencies: ["PipeReference", .product(name: "Netmap", package: "swift-netmap")],
      swiftSettings: settings),
    // Sending, receiving and forwarding in C, for 'netmap bench --program'; and the same by DPDK.
    .executableTarget(
      name: "interface-reference", publicHeadersPath: "."),
    .executableTarget(name: "testpmd-peer", swiftSettings: settings),
    // Runs netmap bench and a reference in turns.
    .executableTarget(name: "compare", swiftSettings: settings),
    // Measures what has a committed limit.
    .executableTarget(name: "check-limits", swiftSettings: settings),
    // To be preloaded: counts allocations.
    .target(name: "malloc-counter"),
    // A known number of packets, for counting instructions and allocations.
    .executableTarget(
      name: "fixed-work", dependencies: [.product(name: "Netmap", package: "swift-netmap")],
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
