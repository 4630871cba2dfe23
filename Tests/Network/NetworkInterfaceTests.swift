import Netmap
import NetmapTestSupport
import Testing

/// Names of interfaces: unknown, in other namespaces, reused and changed.
@Suite struct NetworkInterfaceTests {
  @Test("a name that no interface has is ENXIO, and the message says where to look")
  func unknownInterface() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:nowhere", engine: engine)
      }
      #expect(error?.code == .noSuchDevice)
      #expect(error?.description.contains("ip link") == true)
    }
  }

  @Test("two namespaces, one engine: a name is looked up in the namespace of the opening thread")
  func namespaces() throws {
    let engine = try EmbeddedEngine()
    try NetworkNamespace.run {
      let outer = try VethPair()
      let (a, b) = try (
        NetmapPort("netmap:\(outer.first)", engine: engine),
        NetmapPort("netmap:\(outer.second)", engine: engine)
      )
      let frames = (0..<10).map { numberedFrame($0, length: 60) }
      // On a separate thread: the current one is in the outer namespace.
      let inner = try NamespaceThread {
        Result {
          try NetworkNamespace.run {
            let pair = try VethPair()
            let (c, d) = try (
              NetmapPort("netmap:\(pair.first)", engine: engine),
              NetmapPort("netmap:\(pair.second)", engine: engine)
            )
            try c.send(frames)
            #expect(try d.receive(10) == frames)
            #expect(engine.ports.map(\.name).sorted() == ["v0", "v0", "v1", "v1"])
            #expect(engine.ports.allSatisfy { $0.openCount == 1 })
          }
        }
      }.start()
      try inner.join().get()
      #expect(try b.wait(for: .receive, timeout: .zero).isEmpty)
      try a.send(frames)
      #expect(try b.receive(10) == frames)
    }
  }

  @Test("an interface removed and made again: the old port stays broken, a new one works")
  func recreated() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let old = try NetmapPort("netmap:\(pair.first)", engine: engine)
      let master = try NetmapPort("netmap:\(pair.first){x", engine: engine)
      try NetworkNamespace.run("ip", "link", "delete", pair.first)
      #expect(try old.wait(for: .receive, timeout: .seconds(2)) == .error)
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)", engine: engine)
      }
      #expect(error?.code == .noSuchDevice)
      _ = try VethPair()
      let (a, b) = try (
        NetmapPort("netmap:\(pair.first)", engine: engine),
        NetmapPort("netmap:\(pair.second)", engine: engine)
      )
      // A pipe of the old interface still connects to its other end.
      let slave = try NetmapPort("netmap:\(pair.first)}x", engine: engine)
      try master.send([numberedFrame(5, length: 60)])
      #expect(try slave.receive(1) == [numberedFrame(5, length: 60)])
      try a.send([numberedFrame(7, length: 60)])
      #expect(try b.receive(1) == [numberedFrame(7, length: 60)])
      for direction in Direction.allCases {
        let error = #expect(throws: NetmapError.self) { try old.sync(direction) }
        #expect(error?.code == .inputOutput)
      }
      old.close()
      try b.send([numberedFrame(8, length: 60)])
      #expect(try a.receive(1) == [numberedFrame(8, length: 60)])
    }
  }

  @Test("an interface is one port, whether opened by its old or its new name")
  func renamed() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let first = try NetmapPort("netmap:\(pair.first)", engine: engine)
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      try NetworkNamespace.run("ip", "link", "set", pair.first, "name", "renamed")
      let second = try NetmapPort("netmap:renamed", engine: engine)
      #expect(second.name == pair.first)
      #expect(engine.ports.map(\.openCount) == [2])
      first.close()
      second.close()
      #expect(try NetmapPort("netmap:renamed", engine: engine).name == "renamed")
    }
  }
}
