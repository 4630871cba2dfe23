import Glibc

@testable import NetmapRequests

/// What a random request must do, written down a second time: from the tables of the ABI, with numbers instead of
/// names, over the bytes of a simulated memory.
///
/// Knows the answers of ``RecordingServer``.
struct RequestModel {
  let memory: SimulatedMemory
  let server: RecordingServer
  /// What the server is asked for.
  var log: [String] = []

  mutating func ioctl(_ command: UInt64, _ argument: UInt64) -> Int32 {
    let size: Int
    switch command & 0xffff_ffff {
    case 0x6994: return ask("sync tx")
    case 0x6995: return ask("sync rx")
    case 0xc058_6997: size = 88
    case 0xc03c_6991, 0xc03c_6992: size = 60
    case 0xc110_6996: size = 272
    default: return EOPNOTSUPP
    }
    if argument == 0 { return EINVAL }
    guard var bytes = memory.bytesAt(argument, size) else { return EFAULT }
    let result =
      switch size {
      case 88: control(&bytes)
      case 60: legacy(&bytes, isInfo: command & 0xff == 0x91)
      default: configure(&bytes)
      }
    return memory.put(bytes, at: argument) ? result : EFAULT
  }

  private mutating func ask(_ what: String) -> Int32 {
    log.append(what)
    return server.refusal?.rawValue ?? 0
  }

  private mutating func configure(_ bytes: inout [UInt8]) -> Int32 {
    bytes[16] = 0xaa
    return ask("configure")
  }

  /// Body sizes by type.
  private static let sizes = [0, 56, 32, 64, 8, 8, 8, 8, 16, 0, 16, 16, 64, 8, 0, 0]

  // MARK: - NIOCCTRL

  private struct Option {
    var address: UInt64
    var header: [UInt8]
    var body: [UInt8] = []
    var type: UInt64 { header.number(8, 4) }
    var status: UInt64 {
      get { header.number(12, 4) }
      set { header.set(12, 4, newValue) }
    }
  }

  private mutating func control(_ header: inout [UInt8]) -> Int32 {
    let version = header.number(0, 2)
    if version != 14 && version != 15 { return EINVAL }
    if header.number(4, 4) != 0 { return EINVAL }
    let type = Int(header.number(2, 2))
    let size = type < 16 ? Self.sizes[type] : 0
    let address = header.number(80, 8)
    if (size == 0) != (address == 0) { return EINVAL }
    guard var body = size == 0 ? [] : memory.bytesAt(address, size) else { return EFAULT }
    var options: [Option] = []
    var result = read(&options, from: header.number(72, 8), size)
    if result == 0 {
      header[71] = 0
      result = serve(type, &header, &body, &options)
    }
    if result == 0, size > 0, !memory.put(body, at: address) { return EFAULT }
    for option in options {
      if !memory.put(option.header, at: option.address) { return EFAULT }
      if result == 0, option.status == 0, !option.body.isEmpty {
        if !memory.put(option.body, at: option.address &+ 24) { return EFAULT }
      }
    }
    return result
  }

  private func read(_ options: inout [Option], from first: UInt64, _ bodySize: Int) -> Int32 {
    var address = first
    var bodies = 0
    while address != 0 {
      if 64 + bodySize + 32 * options.count + bodies + 32 > 4208 {
        options = []
        return EMSGSIZE
      }
      guard let header = memory.bytesAt(address, 24) else { return EFAULT }
      options.append(Option(address: address, header: header))
      let last = options.count - 1
      options[last].status = 0
      let type = options[last].type
      if type == 0 {
        options[last].status = UInt64(EINVAL)
        return EINVAL
      }
      if type < 6 {
        if let other = options.dropLast().firstIndex(where: { $0.type == type }) {
          options[last].status = UInt64(EINVAL)
          options[other].status = UInt64(EINVAL)
          return EINVAL
        }
        let size = header.number(16, 8)
        if size > 4096 { return EMSGSIZE }
        let length = [0, 72, max(24, Int(size)) - 24, 16, 8, 32][Int(type)]
        if bodySize + 24 * options.count + bodies + length > 4096 { return EMSGSIZE }
        if 64 + bodySize + 32 * options.count + bodies + length > 4208 { return EMSGSIZE }
        if length > 0 {
          guard let body = memory.bytesAt(address &+ 24, length) else { return EFAULT }
          options[last].body = body
        }
        bodies += length
      }
      address = header.number(0, 8)
    }
    for index in options.indices { options[index].status = UInt64(EOPNOTSUPP) }
    return 0
  }

  private mutating func serve(
    _ type: Int, _ header: inout [UInt8], _ body: inout [UInt8], _ options: inout [Option]
  ) -> Int32 {
    func setStatus(_ types: [UInt64: RecordingServer.Recognized]) {
      for index in options.indices {
        guard let flag = types[options[index].type], server.recognized.contains(flag) else {
          continue
        }
        options[index].status = UInt64(server.status.rawValue)
      }
    }
    switch type {
    case 1:
      setStatus([1: .externalMemory, 3: .controlBlocks, 5: .offsets])
      for index in options.indices {
        if options[index].type == 1, server.recognized.contains(.externalMemory) {
          options[index].body.setPools(8)
        }
        if options[index].type == 5, server.recognized.contains(.offsets) {
          options[index].body.set(0, 8, 64)
        }
      }
      let result = ask("register")
      if result != 0 { return result }
      if options.contains(where: { $0.status == UInt64(EOPNOTSUPP) }) {
        log.append("undo")
        return EOPNOTSUPP
      }
      body.set(0, 8, 0x1_0000_0040)
      body.set(8, 8, 0x2_0003_0000)
      body.setCounts([16, 20, 24, 26, 28, 30])
      body.set(32, 2, 77)
      body.set(40, 4, 33)
      let flags = body.number(48, 8)
      if flags & 0x400 != 0, body.number(36, 4) != 7 { body.set(48, 8, flags | 0x300) }
      return 0
    case 2:
      return ask("info", in: &body) { body in
        body.set(0, 8, 0x3_0004_0000)
        body.setCounts([8, 12, 16, 18, 20, 22])
        body.set(24, 2, 78)
      }
    case 3:
      return ask("attach", in: &body) { body in
        body.set(56, 4, 0x7_0005)
        body.set(32, 2, 80)
      }
    case 4: return ask("detach", in: &body) { $0.set(0, 4, 5) }
    case 5:
      let result = ask("list", in: &body) { body in
        body.set(0, 2, 3)
        body.set(4, 4, 0x1_0009)
      }
      if result == 0, let name = server.listAnswer.name { header.setName(8, 63, Array(name)) }
      return result
    case 6:
      if ![0, 10, 12].contains(body.number(0, 4)) { return EINVAL }
      return ask("set header")
    case 7: return ask("header", in: &body) { $0.set(0, 4, 0x2_000c) }
    case 8:
      return ask("create", in: &body) { body in
        body.setCounts([0, 4, 8, 10])
        body.set(12, 2, 81)
      }
    case 9: return ask("remove")
    case 10: return ask("start polling")
    case 11: return ask("stop polling")
    case 12: return ask("pools", in: &body) { $0.setPools(0) }
    case 13:
      setStatus([2: .eventDescriptors, 4: .loopMode])
      return ask("start loop")
    case 14: return ask("stop loop")
    case 15:
      guard let index = options.firstIndex(where: { $0.type == 3 }) else { return EINVAL }
      let result = ask("csb")
      options[index].status = UInt64(result)
      return result
    default: return EINVAL
    }
  }

  private mutating func ask(
    _ what: String, in body: inout [UInt8], _ answer: (inout [UInt8]) -> Void
  ) -> Int32 {
    let result = ask(what)
    if result == 0 { answer(&body) }
    return result
  }

  // MARK: - NIOCREGIF and NIOCGINFO

  private mutating func legacy(_ bytes: inout [UInt8], isInfo: Bool) -> Int32 {
    if bytes.number(16, 4) < 14 { return EINVAL }
    bytes[15] = 0
    let command = bytes.number(42, 2)
    if isInfo {
      if command == 4 {
        let result = ask("list", in: &bytes) { bytes in
          bytes.set(44, 2, 3)
          bytes.set(46, 2, 9)
        }
        // Without an answer the name comes back as it was, up to its NUL.
        if result == 0, let name = server.listAnswer.name { bytes.setName(0, 15, Array(name)) }
        return result
      }
      return ask("info", in: &bytes) { bytes in
        bytes.set(24, 4, 0x0004_0000)
        bytes.setCounts([28, 32, 36, 38])
        bytes.set(46, 2, 78)
      }
    }
    switch command {
    case 0:
      return ask("register", in: &bytes) { bytes in
        bytes.set(20, 4, 0x40)
        bytes.set(24, 4, 0x0003_0000)
        bytes.setCounts([28, 32, 36, 38])
        bytes.set(46, 2, 77)
        bytes.set(48, 4, 33)
      }
    case 1: return ask("attach", in: &bytes) { $0.set(46, 2, 80) }
    case 2: return ask("detach")
    case 5: return [0, 10, 12].contains(bytes.number(44, 2)) ? ask("set header") : EINVAL
    case 6:
      return ask("create", in: &bytes) { bytes in
        bytes.setCounts([28, 32, 36, 38])
        bytes.set(46, 2, 81)
      }
    case 7: return ask("remove")
    case 8, 9: return ENOMEM
    case 10: return ask("start polling")
    case 11: return ask("stop polling")
    case 12: return ask("header", in: &bytes) { $0.set(44, 2, 12) }
    default: return EINVAL
    }
  }
}

extension [UInt8] {
  fileprivate func number(_ offset: Int, _ count: Int) -> UInt64 {
    self[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  fileprivate mutating func set(_ offset: Int, _ count: Int, _ value: UInt64) {
    for index in 0..<count {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  /// Stores the counts that the server answers with, in the order of the ABI.
  fileprivate mutating func setCounts(_ offsets: [Int]) {
    for (offset, (value, size)) in zip(
      offsets, [(1001, 4), (1002, 4), (11, 2), (12, 2), (13, 2), (14, 2)] as [(UInt64, Int)])
    {
      set(offset, size, value)
    }
  }

  fileprivate mutating func setPools(_ start: Int) {
    set(start, 8, 0x5_0006_0000)
    set(start + 8, 2, 79)
    for (index, pool) in [
      (0, 100, 1024), (0x19000, 200, 36864), (0x7_0000_0000, 16384, 2048),
    ].enumerated() as EnumeratedSequence<[(UInt64, UInt64, UInt64)]> {
      set(start + 16 + 16 * index, 8, pool.0)
      set(start + 24 + 16 * index, 4, pool.1)
      set(start + 28 + 16 * index, 4, pool.2)
    }
  }

  fileprivate mutating func setName(_ offset: Int, _ limit: Int, _ name: [UInt8]) {
    let kept = name.prefix(limit)
    replaceSubrange(offset..<offset + kept.count + 1, with: kept + [0])
  }
}
