import Glibc
import NetmapTestSupport
import Testing

@Suite struct BPFProgramTests {
  @Test("the build compiles every program in bpf/: SwiftPM does not watch the folder")
  func everyProgramIsNamed() throws {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let listed = try TestProgram.output(of: ["ls", "/\(root)/bpf"])
    let files = listed.split(separator: "\n").filter { $0.hasSuffix(".c") }.map { $0.dropLast(2) }
    let plugin = try TestProgram.output(of: ["cat", "/\(root)/Plugins/BPFObjects/BPFObjects.swift"])
    let list = try #require(plugin.split(separator: "let programs = [", maxSplits: 1).last)
    let named = list.prefix { $0 != "]" }.split(separator: "\"").enumerated()
      .filter { $0.offset % 2 == 1 }
    #expect(named.map { String($0.element) }.sorted() == files.map(String.init).sorted())
  }
}
