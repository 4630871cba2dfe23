import Glibc
import NetmapCore
import Testing

/// The names, values and texts of netmap's tunables.
@Suite("Tunables")
struct TunableTests {
  @Test("the names are those of the kernel module's parameters")
  func names() {
    let memory = ["if", "ring", "buf"].flatMap { pool in
      ["size", "num"].flatMap { ["\(pool)_\($0)", "\(pool)_curr_\($0)", "priv_\(pool)_\($0)"] }
    }
    let others = [
      "verbose", "debug", "no_timestamp", "no_pendintr", "txsync_retry", "fwd", "admode",
      "generic_hwcsum", "generic_mit", "generic_ringsize", "generic_rings", "generic_txqdisc",
      "ptnet_vnet_hdr", "bridge_batch", "max_bridges", "default_pipes", "sink_num",
      "sink_delay_ns",
    ]
    #expect(Tunable.allCases.map(\.name).sorted() == (memory + others).sorted())
  }

  @Test("the defaults are netmap's, but for the number of buffers and of switches")
  func defaults() {
    let tunables = Tunables()
    let expected: [(Tunable, Int)] = [
      (.noTimestamp, 0), (.noPendingInterrupt, 1), (.transmitRetries, 2), (.forward, 0),
      (.adapterMode, 0), (.genericMitigation, 100_000), (.genericRingSize, 1024),
      (.interfaceSize, 1024), (.ringSize, 36_864), (.bufferSize, 2048), (.interfaceCount, 100),
      (.ringCount, 200), (.bufferCount, 16_384), (.privateInterfaceSize, 1024),
      (.privateRingSize, 20_480), (.privateBufferSize, 2048), (.privateInterfaceCount, 2),
      (.privateRingCount, 4), (.privateBufferCount, 4098), (.switchBatch, 1024),
      (.switchCount, 0), (.sinkDelay, 100),
    ]
    for (tunable, value) in expected {
      #expect(tunables[tunable] == value, "\(tunable.name)")
      #expect(tunables.origin(of: tunable) == "default")
    }
    #expect(tunables.sharedRegion == .global && tunables.privateMinimums == .standard)
  }

  private func code(_ tunable: Tunable, _ value: Int) -> NetmapError.Code? {
    var tunables = Tunables()
    do throws(NetmapError) {
      try tunables.set(tunable, to: value, by: "a test")
      return nil
    } catch {
      #expect(error.subject == tunable.name && !error.reason.isEmpty && !error.remedy.isEmpty)
      return error.code
    }
  }

  @Test("sizes and numbers have netmap's bounds")
  func bounds() {
    let bounds: [(Tunable, ClosedRange<Int>)] = [
      (.interfaceSize, 56...4096), (.interfaceCount, 10...10_000), (.ringSize, 256...131_072),
      (.ringCount, 2...1024), (.bufferSize, 64...65_536), (.bufferCount, 4...1_000_000),
      (.privateInterfaceSize, 56...4096), (.privateInterfaceCount, 1...100),
      (.privateRingSize, 256...131_072), (.privateRingCount, 2...1024),
      (.privateBufferSize, 64...65_536), (.privateBufferCount, 4...1_000_000),
      (.genericRingSize, 64...4096), (.switchCount, 0...Int(Int32.max)),
    ]
    for (tunable, range) in bounds {
      #expect(code(tunable, range.lowerBound) == nil && code(tunable, range.upperBound) == nil)
      for value in [range.lowerBound - 1, range.upperBound + 1, .min, .max] {
        #expect(code(tunable, value) == .invalidArgument, "\(tunable.name)=\(value)")
      }
    }
    for tunable in [Tunable.bufferSize, .privateBufferSize, .genericRingSize] {
      #expect(code(tunable, 3000) == .invalidArgument, "not a power of two")
    }
    #expect(code(.verbose, Int(Int32.max)) == nil && code(.verbose, .max) == .invalidArgument)
  }

  @Test("netmap's corrections: admode out of range is 0, and bridge_batch has a limit")
  func corrections() throws {
    var tunables = Tunables()
    for (value, result) in [(1, 1), (2, 2), (3, 0), (-1, 0), (.max, 0)] {
      try tunables.set(.adapterMode, to: value, by: "a test")
      #expect(tunables[.adapterMode] == result)
    }
    for (value, result) in [(1, 1), (1024, 1024), (1025, 1024), (.max, 1024), (0, 0), (-7, -7)] {
      try tunables.set(.switchBatch, to: value, by: "a test")
      #expect(tunables[.switchBatch] == result)
    }
  }

  @Test(
    "what is in use cannot be set",
    arguments: Tunable.allCases.filter { $0.rule.effect == .readOnly })
  func readOnly(tunable: Tunable) {
    #expect(code(tunable, 1)?.rawValue == EACCES)
  }

  @Test("an assignment is a name, '=' and a number")
  func assignments() throws {
    for text in ["buf_num=40000", " buf_num = 40000 ", "buf_num\t=\t0x9c40", "buf_num=+40000"] {
      let (tunable, value) = try Tunable.assignment(text)
      #expect(tunable == .bufferCount && value == 40_000, "\(text)")
    }
    #expect(try Tunable.assignment("bridge_batch=-1").value == -1)
    for text in [
      "", "=", "buf_num", "buf_num=", "=1", "buf_num=1 2", "buf_num=1.5", "buf_num==1", "BUF_NUM=4",
      "buf_num=99999999999999999999", "buf_num=0x", "no_such=1", "buf_num=\u{0}", "buf num=4",
    ] {
      let error = #expect(throws: NetmapError.self, "\(text)") { try Tunable.assignment(text) }
      #expect(error?.code == .invalidArgument && error?.remedy.isEmpty == false, "\(text)")
    }
  }

  @Test("a message about a text stays on one line, and short")
  func shownText() {
    let long = String(repeating: "x", count: 5000) + "\n\u{1b}[31m"
    for text in [long, long + "=1", "buf_num=" + long, "a\nb\u{7f}=1"] {
      let error = #expect(throws: NetmapError.self) { try Tunable.assignment(text) }
      let message = error?.description ?? ""
      #expect(message.count < 300 && !message.contains("\n") && !message.contains("\u{1b}"))
    }
  }

  @Test("a configuration file has names and values, comments and empty lines")
  func file() throws {
    var tunables = Tunables()
    let text = """
      # netmap's memory

      buf_num = 40000   # AF_XDP locks 80 MB
        ring_num=300\r
      #admode = 1
      fwd = 1
      """
    try tunables.set(file: text.utf8, path: "/x/y.conf")
    #expect(tunables[.bufferCount] == 40_000 && tunables[.ringCount] == 300)
    #expect(tunables[.forward] == 1 && tunables[.adapterMode] == 0)
    #expect(tunables.origin(of: .bufferCount) == "/x/y.conf:3")
    #expect(tunables.origin(of: .forward) == "/x/y.conf:6")
    try tunables.set(file: [UInt8](), path: "empty")
    #expect(tunables[.forward] == 1)
  }

  @Test("an error in a file names the file, the line, the reason and the remedy")
  func wrongFile() {
    let cases: [([UInt8], String)] = [
      (Array("fwd = 1\nno_such = 3\n".utf8), "f.conf:2: no_such: there is no tunable of that name"),
      (Array("buf_num = many".utf8), "f.conf:1: buf_num: 'many' is not a number"),
      (Array("\n\nbuf_num = 3\n".utf8), "f.conf:3: buf_num: 3 is outside 4...1000000"),
      (Array("fwd = 1\nfwd = 0".utf8), "f.conf:2: fwd: line 1 has set it already"),
      (Array("buf_curr_num = 1".utf8), "f.conf:1: buf_curr_num: it shows what is in use"),
      (Array("hello".utf8), "f.conf:1: hello: it has no '='"),
      ([0xff, 0x00, 0xfe, 0x0a], "f.conf:1:"),
      ((0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7) }, "f.conf:"),
    ]
    for (bytes, expected) in cases {
      var tunables = Tunables()
      let error = #expect(throws: NetmapError.self) {
        try tunables.set(file: bytes, path: "f.conf")
      }
      #expect(
        error?.description.contains(expected) == true && error?.remedy.isEmpty == false,
        "\(String(describing: error))")
    }
  }

  @Test("another process makes the same tunables from their serial form")
  func serialForm() throws {
    var tunables = Tunables()
    try tunables.set(.bufferCount, to: 50_000, by: "/a@b=c/x.conf:3")
    try tunables.set(.switchBatch, to: -3, by: "--set")
    try tunables.set(.switchCount, to: 4, by: "--set")
    #expect(try Tunables(assignments: tunables.assignments) == tunables)
    #expect(Tunables().assignments.isEmpty)
  }
}
