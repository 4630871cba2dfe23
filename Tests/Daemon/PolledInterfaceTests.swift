import Glibc
import Netmap
import NetmapTestSupport
import Testing

extension SwitchedInterfaceTests {
  @Test("polling mode: on, a second time refused, no detaching, off; frames flow all the time")
  func polling() throws {
    try withSwitch(queues: 2) { fixture, pair in
      let engine = try fixture.engine()
      let (port, far) = try (
        NetmapPort("vale0:a", engine: engine), NetmapPort("netmap:\(pair.second)", engine: engine)
      )
      func expectFlow(_ context: String) throws {
        for number in 0..<20 as Range<UInt8> {
          try send(frame(number), on: port)
          #expect(try DaemonInterfaceTests.receive(far, 1) == [frame(number)], "\(context)")
          try send(frame(number, from: 5), on: far)
          #expect(
            try DaemonInterfaceTests.receive(port, 1) == [frame(number, from: 5)], "\(context)")
        }
      }
      func expect(_ line: String, _ reason: String) throws {
        let (status, text) = try Self.run(fixture, line)
        #expect(status == 1 && text.contains(reason), "\(line): \(text)")
      }
      try expectFlow("asleep")
      try expect("-P vale0:v0", "Bad address")
      try expect("-p vale0:a -C 0,0", "Operation not supported")
      try expect("-p vale0:v0", "-p needs -C")
      try expect("-p vale0:v0 -C 0,0,1", "too many numbers in '0,0,1'")
      try expect("-p vale0:v0 -C 1,1,5000", "Invalid argument")
      try expect("-p vale0:v0 -C 0,1000", "Invalid argument")
      let online = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))
      guard online > 1 else { return try expect("-p vale0:v0 -C 0,0", "would leave no CPU") }
      for choice in ["0,1", "1,1,1"] {
        #expect(try Self.run(fixture, "-p vale0:v0 -C \(choice)") == (0, ""))
        try expectFlow(choice)
        try expect("-p vale0:v0 -C \(choice)", "Bad address")
        try expect("-d vale0:v0", "it is polled")
        #expect(try Self.run(fixture, "-P vale0:v0") == (0, ""))
        try expectFlow("after \(choice)")
      }
      #expect(try Self.run(fixture, "-d vale0:v0").status == 0)
      try fixture.expectSound("after polling")
    }
  }
}
