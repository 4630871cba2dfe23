package import NetmapCore

// The encoding of requests about switches and their answers in messages.

extension MessageWriter {
  package mutating func put(_ request: SwitchRequest) {
    switch request {
    case .attach(let register): put(0, register)
    case .detach(let name): put(1, RegisterRequest(name: name))
    case .find(let name): put(2, RegisterRequest(name: name))
    case .next(let vale, let port):
      put(UInt8(3))
      put(UInt32(clamping: vale))
      put(UInt32(clamping: port))
    case .create(let register): put(4, register)
    case .remove(let name): put(5, RegisterRequest(name: name))
    case .polling(let name, let cpus):
      put(6, RegisterRequest(name: name))
      switch cpus {
      case nil: put(0, 0, 0)
      case .one(let cpu): put(1, cpu, 1)
      case .each(let first, let count): put(2, first, count)
      }
    case .information(let name): put(7, RegisterRequest(name: name))
    case .module(let name, let request): put(name, request)
    case .setHeader(let name, let length):
      put(16, RegisterRequest(name: name))
      put(UInt32(clamping: length))
    case .header(let name): put(17, RegisterRequest(name: name))
    }
  }

  private mutating func put(_ kind: UInt8, _ request: RegisterRequest) {
    put(kind)
    put(request)
  }

  private mutating func put(_ mode: UInt8, _ first: Int, _ count: Int) {
    put(mode)
    put(UInt32(clamping: first))
    put(UInt32(clamping: count))
  }

  package mutating func put(_ answer: SwitchAnswer) {
    put(answer.name)
    put(UInt32(answer.switchIndex))
    put(UInt32(answer.portIndex))
    put(answer.memoryID)
    put(UInt64(answer.memorySize))
    put(answer.geometry)
    put(answer.module)
    put(UInt32(clamping: answer.headerLength))
    put(answer.remarks)
  }
}

extension MessageReader {
  package mutating func takeSwitchRequest() throws(NetmapError) -> SwitchRequest {
    let kind = try take(UInt8.self)
    if kind == ModuleCoding.kind { return try takeModuleRequest() }
    if kind == 3 {
      let vale = Int(try take(UInt32.self))
      return .next(switch: vale, port: Int(try take(UInt32.self)))
    }
    let request = try takeRequest()
    switch kind {
    case 0: return .attach(request)
    case 1: return .detach(request.name)
    case 2: return .find(request.name)
    case 4: return .create(request)
    case 5: return .remove(request.name)
    case 6: return .polling(request.name, try takePolling())
    case 7: return .information(request.name)
    case 16: return .setHeader(request.name, length: Int(try take(UInt32.self)))
    case 17: return .header(request.name)
    default: throw malformed("its request is unknown")
    }
  }

  private mutating func takePolling() throws(NetmapError) -> PollingCPUs? {
    let mode = try take(UInt8.self)
    let first = Int(try take(UInt32.self))
    let count = Int(try take(UInt32.self))
    switch mode {
    case 0: return nil
    case 1: return .one(first)
    case 2: return .each(first: first, count: count)
    default: throw malformed("its polling mode is unknown")
    }
  }

  package mutating func takeSwitchAnswer() throws(NetmapError) -> SwitchAnswer {
    var answer = SwitchAnswer()
    answer.name = try takeString()
    answer.switchIndex = Int(try take(UInt32.self))
    answer.portIndex = Int(try take(UInt32.self))
    answer.memoryID = try take(UInt16.self)
    answer.memorySize = try takeSize()
    answer.geometry = try takeGeometry()
    answer.module = try takeModuleReport()
    answer.headerLength = Int(try take(UInt32.self))
    answer.remarks = try takeStrings()
    return answer
  }
}
