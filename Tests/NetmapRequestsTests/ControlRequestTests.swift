import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("Control requests")
struct ControlRequestTests {
  @Test("versions 14 and 15 are accepted", arguments: [14, 15] as [UInt16])
  func knownVersion(version: UInt16) {
    let program = SimulatedProgram()
    let request = ControlMemory(program, NETMAP_REQ_VALE_DELIF)
    request.value.nr_version = version
    #expect(program.control(request) == 0)
    #expect(request.value.nr_version == version)
  }

  @Test(
    "another version gives EINVAL before anything else is looked at",
    arguments: [0, 11, 12, 13, 16, .max] as [UInt16])
  func otherVersion(version: UInt16) {
    let program = SimulatedProgram()
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: 1, options: 1)
    request.value.nr_version = version
    request.value.nr_reserved = 3
    request.setName([UInt8](repeating: 65, count: 64))
    let before = request.value
    #expect(program.control(request) == EINVAL)
    #expect(program.memory.copiesIn.count == 1)
    #expect(request.value.nr_reserved == 3 && request.value.nr_version == before.nr_version)
    #expect(request.name == [UInt8](repeating: 65, count: 64))
  }

  @Test("a reserved field that is not 0 gives EINVAL before the body is read, and stays")
  func reserved() {
    let program = SimulatedProgram()
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: 1)
    request.value.nr_reserved = 0x8000_0000
    #expect(program.control(request) == EINVAL)
    #expect(program.memory.copiesIn.count == 1)
    #expect(request.value.nr_reserved == 0x8000_0000)
  }

  @Test(
    "a request with a body needs one", arguments: [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13])
  func missingBody(type: Int) {
    let program = SimulatedProgram()
    let request = ControlMemory(program, type, options: 1)
    #expect(program.control(request) == EINVAL)
    #expect(program.server.log.isEmpty && program.memory.copiesIn.count == 1)
    // netmap leaves 1 here, so that the program's next attempt fails as well.
    #expect(request.value.nr_reserved == 0)
  }

  @Test(
    "a request without a body, or of an unknown type, must not have one",
    arguments: [0, 9, 14, 15, 16, 0xffff])
  func unwantedBody(type: Int) {
    let program = SimulatedProgram()
    let request = ControlMemory(program, type, body: 1, options: 1)
    #expect(program.control(request) == EINVAL)
    #expect(program.server.log.isEmpty && program.memory.copiesIn.count == 1)
  }

  @Test(
    "a body that cannot be read gives EFAULT before the options are read",
    arguments: [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13])
  func unreadableBody(type: Int) throws {
    let program = SimulatedProgram()
    let option = program.addBare(1234)
    let size = UInt64(try #require(RequestType(rawValue: UInt16(type))).bodyByteCount)
    let end = program.memory.reserve(512) + 256
    program.memory.protect(end, .absent)
    for body in [8, end - size + 1, 0 &- size + 1] {
      let request = ControlMemory(program, type, body: body, options: option)
      request.setName([UInt8](repeating: 66, count: 64))
      #expect(program.control(request) == EFAULT)
      // The name has not been touched, and the option neither.
      #expect(request.name[63] == 66)
      #expect(request.value.nr_body == body && request.value.nr_options == option)
    }
    #expect(program.status(option) == 0xdead)
    #expect(program.server.log.isEmpty)
  }

  @Test("an unknown type gives EINVAL, but only after its options have been read")
  func unknownType() {
    let program = SimulatedProgram()
    let option = program.addBare(NETMAP_REQ_OPT_MAX)
    #expect(program.control(ControlMemory(program, 99, options: option)) == EINVAL)
    #expect(program.status(option) == EOPNOTSUPP)
    #expect(program.control(ControlMemory(program, 99, options: 1)) == EFAULT)
    #expect(program.server.log.isEmpty)
  }

  @Test("the last byte of the name becomes a NUL, also if the request is refused afterwards")
  func nameTerminated() {
    for refusal in [nil, RequestErrno(rawValue: EBUSY)] {
      let program = SimulatedProgram()
      program.server.refusal = refusal
      let request = ControlMemory(program, NETMAP_REQ_VALE_DELIF)
      request.setName([UInt8](repeating: 67, count: 64))
      program.control(request)
      #expect(request.name == [UInt8](repeating: 67, count: 63) + [0])
      #expect(program.server.name.map(Array.init) == [UInt8](repeating: 67, count: 63))
    }
  }

  @Test("a name ends at its first NUL, may be empty, and need not be UTF-8")
  func names() {
    for (bytes, expected) in [
      ([0, 65, 66], []), ([0xff, 0x80, 0, 65], [0xff, 0x80]), ([65], [65]),
    ] as [([UInt8], [UInt8])] {
      let program = SimulatedProgram()
      let request = ControlMemory(program, NETMAP_REQ_VALE_DELIF, "")
      request.setName(bytes)
      #expect(program.control(request) == 0)
      #expect(program.server.name.map(Array.init) == expected)
      #expect(Array(request.name.prefix(bytes.count)) == bytes)
    }
  }

  @Test("the version, the type and the addresses return as they came")
  func headerUnchanged() {
    for refusal in [nil, RequestErrno(rawValue: ENXIO)] {
      let program = SimulatedProgram()
      program.server.refusal = refusal
      let body = program.memory.add(nmreq_port_info_get())
      let option = program.addBare(1234)
      let request = ControlMemory(
        program, NETMAP_REQ_PORT_INFO_GET, "vale0:a", body: body, options: option)
      request.value.nr_version = 15
      program.control(request)
      #expect(request.value.nr_version == 15)
      #expect(Int(request.value.nr_reqtype) == NETMAP_REQ_PORT_INFO_GET)
      #expect(request.value.nr_reserved == 0)
      #expect(request.value.nr_body == body && request.value.nr_options == option)
      #expect(Array(request.name.prefix(8)) == Array("vale0:a".utf8) + [0])
    }
  }

  @Test("the body returns only if the request succeeds")
  func bodyOfFailure() {
    let program = SimulatedProgram()
    program.server.refusal = RequestErrno(rawValue: EBUSY)
    let body = program.register { $0.nr_offset = 5 }
    #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == EBUSY)
    #expect(program.memory.get(nmreq_register.self, at: body).nr_offset == 5)
    #expect(!program.memory.copiesOut.contains { $0.address == body })
  }

  @Test(
    "a body that cannot be written gives EFAULT; the request stays served, and no option is written"
  )
  func unwritableBody() {
    let program = SimulatedProgram()
    let body = program.register()
    let option = program.add(nmreq_opt_offsets(), NETMAP_REQ_OPT_OFFSETS)
    program.memory.protect(body, .readOnly)
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: body, options: option)
    #expect(program.control(request) == EFAULT)
    #expect(program.server.log == ["register"])
    #expect(program.status(option) == 0xdead)
  }

  @Test("each byte is read once, so another thread cannot change what has been checked")
  func readOnce() throws {
    let program = SimulatedProgram()
    let offsets = program.add(nmreq_opt_offsets(), NETMAP_REQ_OPT_OFFSETS)
    let first = program.addBare(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, size: 40, before: offsets)
    let body = program.register()
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: body, options: first)
    // Whatever has been read changes as soon as it has been read.
    var seen = 0
    program.memory.otherThread = { memory in
      let copies = memory.copiesIn[seen...]
      seen = memory.copiesIn.count
      for copy in copies {
        memory.put([UInt8](repeating: 0xee, count: copy.count), at: copy.address)
      }
    }
    #expect(program.control(request) == EOPNOTSUPP)
    #expect(program.server.registered?.binding.mode == 1)
    #expect(program.server.registered?.offsets?.bits == 0)
    #expect(program.server.log == ["register", "undo"])
    var read = Set<UInt64>()
    for copy in program.memory.copiesIn {
      for index in 0..<UInt64(copy.count) {
        #expect(read.insert(copy.address + index).inserted, "byte \(copy.address + index)")
      }
    }
    // What returns is what was read.
    #expect(request.value.nr_options == first && request.value.nr_body == body)
    #expect(program.option(first).nro_next == offsets && program.option(first).nro_size == 40)
    #expect(program.option(offsets).nro_next == 0)
  }
}
