import Foundation
import PackagePlugin

/// Compiles the programs under `bpf/` with the toolchain's own clang, and makes their object code a
/// Swift source of the target.
///
/// One command compiles all of them, and the Swift file is its only output. An object file that is
/// declared as an output would become a resource of the target.
@main
struct BPFObjects: BuildToolPlugin {
  /// The programs, without `.c`. SwiftPM does not watch the folder, so they are named here; a test
  /// compares the list with the folder.
  static let programs = [
    "bench_traffic", "host_leg", "packet_ingress_drop", "xdp_finish", "xdp_redirect",
  ]

  /// Files that programs include.
  private static let headers = ["host_mark.h"]

  /// Applications carry the programs of the backends only. Those named `bench_` belong to the
  /// NetworkTestbed target.
  private static func belongs(_ program: String, to target: any Target) -> Bool {
    program.hasPrefix("bench_") == (target.name == "NetworkTestbed")
  }

  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let folder = context.package.directoryURL.appending(path: "bpf")
    let programs = Self.programs.filter { Self.belongs($0, to: target) }
    let sources = programs.map { folder.appending(path: "\($0).c") }
    let output = context.pluginWorkDirectoryURL.appending(path: "BPFObjects.swift")
    return [
      .buildCommand(
        displayName: "Compiling \(programs.count) BPF programs",
        executable: try context.tool(named: "bpf-embed").url,
        arguments: [try context.tool(named: "clang").url.path, output.path] + sources.map(\.path),
        inputFiles: sources + Self.headers.map { folder.appending(path: $0) }, outputFiles: [output]
      )
    ]
  }
}
