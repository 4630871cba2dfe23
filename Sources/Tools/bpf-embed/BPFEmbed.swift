import Foundation

/// A build tool: `bpf-embed CLANG OUTPUT.swift SOURCE.c ...`
///
/// Compiles each source for the BPF target and writes the objects as Swift constants. Loading a program then
/// needs neither a compiler nor a file.
@main
struct BPFEmbed {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count >= 4 else { fail("usage: bpf-embed CLANG OUTPUT.swift SOURCE.c ...") }
    var text = """
      // Made by bpf-embed from the programs in bpf/. Not to be edited.

      /// The BPF programs, compiled: ELF objects, as libbpf takes them.
      enum BPFObjectCode {

      """
    for source in arguments[3...] {
      let name = URL(filePath: source).deletingPathExtension().lastPathComponent
      let bytes = compile(source, with: arguments[1]).map(String.init).joined(separator: ",")
      text += "  static let \(camelCase(name)): [UInt8] = [\(bytes)]\n"
    }
    do {
      try (text + "}\n").write(toFile: arguments[2], atomically: true, encoding: .utf8)
    } catch {
      fail("\(arguments[2]): \(error)")
    }
  }

  private static func compile(_ source: String, with clang: String) -> Data {
    let object = FileManager.default.temporaryDirectory
      .appending(path: "bpf-embed-\(UUID().uuidString).o")
    defer { try? FileManager.default.removeItem(at: object) }
    let process = Process()
    process.executableURL = URL(filePath: clang)
    process.arguments =
      ["-target", "bpf", "-mcpu=v2", "-O2", "-g", "-Wall", "-Werror"]
      // <asm/types.h> is in the folder of the host's architecture, which the BPF target does not search.
      + headerFolders.flatMap { ["-idirafter", $0] }
      + ["-c", source, "-o", object.path]
    do {
      try process.run()
      process.waitUntilExit()
      guard process.terminationStatus == 0 else {
        fail("\(clang) could not compile \(source); 'make setup' installs libbpf's headers")
      }
      return try Data(contentsOf: object)
    } catch {
      fail("\(source): \(error)")
    }
  }

  private static var headerFolders: [String] {
    #if arch(x86_64)
      let architecture = "x86_64"
    #elseif arch(arm64)
      let architecture = "aarch64"
    #else
      let architecture = "unknown"
    #endif
    return ["/usr/include/\(architecture)-linux-gnu", "/usr/include"]
  }

  private static func camelCase(_ name: String) -> String {
    let words = name.split(separator: "_")
    return words.dropFirst().reduce(String(words.first ?? "")) { $0 + $1.capitalized }
  }

  private static func fail(_ message: String) -> Never {
    FileHandle.standardError.write(Data("bpf-embed: \(message)\n".utf8))
    exit(1)
  }
}
