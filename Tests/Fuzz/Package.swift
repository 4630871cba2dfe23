// swift-tools-version: 6.3
import PackageDescription

// A separate package, so that the flags of the fuzzer reach no other build. `scripts/fuzz` builds it.

let settings: [SwiftSetting] = [
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "swift-netmap-fuzz",
  dependencies: [.package(name: "swift-netmap", path: "../..")],
  targets: [
    // All fuzz targets in one program: linking the fuzzer and the libraries takes longer than running a target.
    .executableTarget(
      name: "netmap-fuzz",
      dependencies: [
        .product(name: "NetmapInternals", package: "swift-netmap"),
        .product(name: "Netmap", package: "swift-netmap"),
      ],
      swiftSettings: settings)
  ],
  swiftLanguageModes: [.v6]
)
