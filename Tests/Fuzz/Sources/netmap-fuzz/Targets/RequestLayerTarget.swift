import Glibc

@testable import NetmapRequests

extension FuzzTarget {
  /// A program's memory with holes, a call of `ioctl`, and what the server answers. The model of the tests
  /// does the same.
  static let requestLayer = FuzzTarget(
    name: "request-layer", subject: "ioctl(2) of C programs: control and legacy requests, options"
  ) { bytes in
    var input = FuzzInput(bytes)
    let server = RecordingServer()
    if input.flag() {
      let code = input.choice([EBUSY, ENXIO, ENOMEM, EINVAL, EOPNOTSUPP, EFAULT, EIO, 0, -1, 5000])
      server.refusal = RequestErrno(rawValue: code)
      if input.flag() { server.status = .refused(RequestErrno(rawValue: code)) }
    }
    server.recognized = .init(rawValue: Int(input.byte() & 31))
    if input.flag() { server.listAnswer.name = RequestName("vale0:some_port_name".utf8) }
    let memory = SimulatedMemory(byteCount: 32 * 256, lastByteCount: 2 * 256)
    let command: UInt64 = input.choice([
      0xc058_6997, 0xc03c_6991, 0xc03c_6992, 0xc110_6996, 0x6994, 0x6995, 0xffff_ffff_c058_6997,
      input.number(),
    ])
    let argument = input.address(in: memory)
    fill(memory, &input)
    let copy = SimulatedMemory(copying: memory)
    let result =
      RequestLayer(memory: memory, server: server)
      .perform(UInt(command), argument)?.rawValue ?? 0
    var model = RequestModel(memory: copy, server: server)
    let expected = model.ioctl(command, argument)
    require(result == expected, "ioctl gives \(result), and the model gives \(expected)")
    require(server.log == model.log, "asked for \(server.log), and the model asks for \(model.log)")
    let difference = memory.firstDifference(from: copy)
    require(difference == nil, "the memory at \(difference ?? 0) differs from the model's")
    let isKnown =
      [0, EINVAL, EFAULT, EMSGSIZE, EOPNOTSUPP, ENOMEM].contains(result)
      || result == server.refusal?.rawValue
    require(isKnown, "errno \(result) is no answer of the layer")
  }

  /// Writes structures, bytes and holes into the memory until the input ends.
  private static func fill(_ memory: SimulatedMemory, _ input: inout FuzzInput) {
    while !input.isAtEnd {
      switch input.byte() % 6 {
      case 0:
        // A header: version, type, reserved, name, options, body.
        let version: UInt16 = input.choice([14, 15, 14, input.number()])
        let type = UInt16(input.byte() & 31)
        let place = input.address(in: memory)
        memory.put(littleEndian(version) + littleEndian(type) + [0, 0, 0, 0], at: place)
        memory.put(input.padded(Int(input.byte() & 63)), at: place &+ 8)
        memory.put(littleEndian(input.address(in: memory)), at: place &+ 72)
        memory.put(littleEndian(input.address(in: memory)), at: place &+ 80)
      case 1:
        // An option: next, type, status, size.
        let place = input.address(in: memory)
        let type: UInt32 = input.choice([1, 2, 3, 4, 5, 6, 0, input.number()])
        let size: UInt64 = input.choice([0, 24, 56, 4096, input.number(), UInt64(input.byte())])
        memory.put(
          littleEndian(input.address(in: memory)) + littleEndian(type)
            + littleEndian(input.number(UInt32.self)) + littleEndian(size), at: place)
      case 2:
        // A legacy request: version, command, argument.
        let place = input.address(in: memory)
        let version: UInt32 = input.choice([14, 11, 13, input.number()])
        memory.put(input.padded(16), at: place)
        memory.put(littleEndian(version), at: place &+ 16)
        memory.put(input.padded(22), at: place &+ 20)
        memory.put(littleEndian(UInt16(input.byte() & 15)), at: place &+ 42)
        memory.put(input.padded(16), at: place &+ 44)
      case 3:
        memory.protect(
          input.address(in: memory), input.flag() ? .absent : .readOnly,
          count: 1 + Int(input.byte()))
      default:
        let place = input.address(in: memory)
        memory.put(input.bytes(Int(input.byte() & 127)), at: place)
      }
    }
  }
}

extension FuzzInput {
  /// An address that is likely to mean something.
  fileprivate mutating func address(in memory: SimulatedMemory) -> UInt64 {
    switch byte() & 15 {
    case 0: return 0
    case 1: return number()
    case 2: return memory.windows[1].base &+ UInt64(number(UInt16.self) & 511)
    // Often the same few addresses, so that structures refer to each other.
    case 3..<12: return memory.windows[0].base &+ UInt64(byte() & 15) << 8
    default: return memory.windows[0].base &+ UInt64(number(UInt16.self) % 8192)
    }
  }
}

private func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
