// swift-tools-version: 6.3
import PackageDescription

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
    .library(name: "Netmap", targets: ["Netmap"])
  ],
  targets: [
    .target(name: "CNetmap"),
    .target(name: "CLinux"),
    .target(name: "NetmapCore", dependencies: ["CNetmap", "CLinux"], swiftSettings: settings),
    .target(name: "Netmap", dependencies: ["NetmapCore"], swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
